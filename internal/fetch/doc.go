// Package fetch brings files from servers, mirrors and file trees onto the disk,
// whole and verified or not at all.
//
//	f := fetch.New(fetch.Options{Progress: bars})
//	result, err := f.File(ctx, fetch.Source{URL: url, SHA256: sum}, dir, "vmlinux-6.1")
//
// A name in the directory appears by one rename, after its content was checked
// and has reached the disk. What a broken connection, a cancelled context or
// kill -9 leaves is a part file beside it, from which the next call goes on.
//
// # What a part is worth
//
// Going on means to trust bytes that another process wrote, and a server to still
// have the same file. So a record lies beside the part, and a part starts afresh
//
//   - without a strong validator of the server: a strong ETag, else a Last-Modified
//     that is older than the answer it came with. Weak ETags promise no equal bytes;
//   - without a whole record, or with that of another part file, or another source;
//   - after a reboot, unless the hash is known. A crash of the host can leave zeros
//     where the content was not yet on the disk, and only a hash would tell;
//   - when the server answers with all of the file (200), with a range that is not
//     exactly what is missing, with another validator, or that there is no such
//     range (416).
//
// What is gone on with is hashed first, from the disk. If the whole has the wrong
// hash in the end, it is fetched once more from its start.
package fetch
