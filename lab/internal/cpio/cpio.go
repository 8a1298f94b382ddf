// Package cpio writes archives in the format newc, as the kernel wants its
// initramfs (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
package cpio

import (
	"fmt"
	"io"
	"os"
)

// Kinds of entries, as in st_mode.
const (
	typeRegular = 0o100000
	typeDir     = 0o040000
)

// Writer writes an archive. Everything in it belongs to root and has no time, so
// that the same files make the same bytes. The first error sticks.
type Writer struct {
	w     io.Writer
	inode int
	at    int64
	err   error
}

// NewWriter returns a writer to w, which the caller flushes.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Dir adds a directory, whose parent must be there already.
func (w *Writer) Dir(name string) { w.entry(name, typeDir|0o755, nil) }

// File adds a regular file.
func (w *Writer) File(name string, mode os.FileMode, data []byte) {
	w.entry(name, typeRegular|uint32(mode.Perm()), data)
}

// Close ends the archive and returns the first error of all.
func (w *Writer) Close() error {
	w.inode = -1
	w.entry("TRAILER!!!", 0, nil)
	return w.err
}

// alignment is that of headers and of data.
const alignment = 4

func (w *Writer) entry(name string, mode uint32, data []byte) {
	w.inode++
	// magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor,
	// rdevmajor, rdevminor, namesize, check
	w.write(fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		w.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name))
	w.pad()
	w.write(data)
	w.pad()
}

func (w *Writer) pad() {
	if over := w.at % alignment; over != 0 {
		w.write(make([]byte, alignment-over))
	}
}

func (w *Writer) write(p []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(p)
		w.at += int64(len(p))
	}
}
