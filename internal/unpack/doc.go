// Package unpack takes single files out of an archive that nobody has to trust.
//
//	files, err := unpack.TarGz(ctx, archive, dir, unpack.Limits{}, func(member string) string {
//		return wanted[member] // a name in dir, or "" for what is not wanted
//	})
//
// The names in the archive never become paths: what is written where is said by
// the caller, and goes into an [os.Root]. An archive that tries to get out all
// the same, or holds something else than files, directories and links inside
// itself, is refused as a whole, since an honest one has no need to.
package unpack
