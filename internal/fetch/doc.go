// Package fetch brings files from servers, mirrors and file trees onto the disk,
// whole and verified or not at all.
//
//	f := fetch.New(fetch.Options{Progress: bars})
//	result, err := f.File(ctx, fetch.Source{URL: url, SHA256: sum}, dir, "vmlinux-6.1")
//
// A name in the directory appears by one rename, after its content was checked
// and has reached the disk. What a broken connection, a cancelled context or
// kill -9 leaves is a part file beside it, from which the next call goes on.
package fetch
