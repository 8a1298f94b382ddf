package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// Format is the kind of file system in an image.
type Format string

// Formats.
const (
	Squashfs Format = "squashfs" // read-only and compressed
	Ext4     Format = "ext4"     // writable, with a journal
)

// Options say how a source is packed. The zero value is usable but for Format.
type Options struct {
	Format Format
	// SizeMiB is the size of an ext4 file system. The default is what the tree
	// needs and a quarter more, at least 64.
	SizeMiB int64
	// AllRoot gives everything to user and group 0.
	AllRoot bool
	// Latest is the newest modification time that an entry may have; later ones are
	// set back to it, as SOURCE_DATE_EPOCH asks for. The default is no limit.
	Latest time.Time
	// Progress is called with the bytes of file content packed so far.
	Progress func(bytes int64)
	// Logger is told what is left out of the image. The default is to tell nobody.
	Logger *slog.Logger

	limits limits // defaultLimits where zero
	own    inode  // of the image itself
}

// Image packs the source into a file system image at path, with mode 0644. What
// was at path is replaced in one step when the image is whole and on the disk;
// before that, and after a failure, nothing is there that was not there before.
//
// Errors are ROOTFS_CREATE_FAILED for a source that can't be packed and for a
// tool that fails, HOST_UNSUPPORTED for a missing tool, NO_SPACE, and CANCELLED,
// which matches the cause of the context's end.
func Image(ctx context.Context, s *Source, path string, o Options) error {
	out, err := createOutput(path)
	if err != nil {
		return failed(ctx, path, err)
	}
	if o.own, err = out.inode(); err != nil {
		return errors.Join(failed(ctx, path, err), out.discard())
	}
	switch o.Format {
	case Squashfs:
		err = s.squashfs(ctx, out, o)
	case Ext4:
		err = s.ext4(ctx, out, o)
	default:
		err = errors.New("there is no format " + string(o.Format))
	}
	if err == nil {
		err = out.commit()
	}
	if _, tool := errors.AsType[*proc.ExitError](err); tool && out.full() {
		err = fmt.Errorf("%w: %w", unix.ENOSPC, err)
	}
	if err != nil {
		err = failed(ctx, s.name, err)
	}
	return errors.Join(err, out.discard())
}

// write writes the normalised tar of the source and returns what is known of it.
// Last adds entries of the format's own.
func (s *Source) write(ctx context.Context, w io.Writer, o Options, fit func(*entry, *notes) error, last func(*tree) error) (*tree, error) {
	n := newNotes(o.Logger)
	out := newStream(w, o.Progress)
	t := newTree(out, o, func(e *entry) error { return fit(e, n) })
	err := s.feed(ctx, t, n)
	if err == nil {
		err = t.finish()
	}
	if err == nil && last != nil {
		err = last(t)
	}
	if err != nil {
		return nil, err
	}
	return t, out.close()
}
