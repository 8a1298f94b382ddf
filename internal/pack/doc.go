// Package pack makes an image of a file system out of a directory or a tar.
//
// Whatever the source, its entries pass one [tree] that checks that they make
// a tree, and leave it as one normalised tar stream, which a writer of the
// wanted format reads:
//
//	directory --+                                 +--> sqfstar           --> squashfs
//	            +--> entries --> tree --> stream --+
//	tar, tar.gz +                                 +--> tar2ext4, e2fsck,
//	                                                   resize2fs, tune2fs --> ext4
//
// Owners, modes with setuid and sticky bits, modification times in seconds,
// symbolic and hard links, devices, FIFOs and extended attributes arrive as
// they are in the source, and no privilege is needed for it. The same tree gives
// the same bytes with the same versions of the tools.
//
// A tar is not trusted: see [Tar]. The tools are those of the host, run through
// internal/proc, since no library writes these formats well.
package pack
