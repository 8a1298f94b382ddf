package image

import (
	"bytes"
	"context"
	"errors"
	"os"

	"github.com/diskfs/go-diskfs/backend"
)

// blankDisk is a new file, full of zeros, to the maker of a file system. It does
// not write zeros to where there are zeros already: the tables of inodes and the
// journal, hundreds of megabytes for a large file system, stay holes.
type blankDisk struct {
	*os.File

	ctx     context.Context //nolint:containedctx // the maker knows no context, and all that it does ends up here
	written map[int64]bool  // pages that were
	err     error           // of the first write that failed: the maker keeps only its text
}

const page = 4096

var zeroPage [page]byte

// WriteAt writes what differs from zeros, or replaces what does. It fails when
// the context has ended.
func (d *blankDisk) WriteAt(data []byte, at int64) (int, error) {
	n, err := d.write(data, at)
	if err != nil && d.err == nil {
		d.err = err
	}
	return n, err
}

func (d *blankDisk) write(data []byte, at int64) (int, error) {
	if d.ctx.Err() != nil {
		return 0, context.Cause(d.ctx)
	}
	done := 0
	for done < len(data) {
		n, offset := at/page, at%page
		piece := data[done:min(len(data), done+page-int(offset))]
		if d.written[n] || !bytes.Equal(piece, zeroPage[:len(piece)]) {
			if _, err := d.File.WriteAt(piece, at); err != nil {
				return done, err
			}
			d.written[n] = true
		}
		done += len(piece)
		at += int64(len(piece))
	}
	return done, nil
}

// Writable returns the disk itself.
func (d *blankDisk) Writable() (backend.WritableFile, error) { return d, nil }

// Sys would be for what only a device can do, and for syncing too early.
func (d *blankDisk) Sys() (*os.File, error) { return nil, errors.ErrUnsupported }

// Path returns no path: the file has none that lasts.
func (d *blankDisk) Path() string { return "" }
