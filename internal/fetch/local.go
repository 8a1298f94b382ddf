package fetch

import (
	"context"
	"errors"
	"net/http"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/plainfile"
)

var errChanged = errors.New("it changed while it was copied")

// openLocal opens the file of a file URL. Links are followed, and a FIFO is not
// waited for.
func openLocal(path string) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0) //nolint:gosec // the file is the one that the caller names
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: plainfile.ErrIrregular}
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// copyLocal takes over the content of a file URL. What is there of an earlier
// call is of no use: it would take as long to compare as to copy.
func (d *download) copyLocal(ctx context.Context) error {
	in, before, err := openLocal(d.source.url.Path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	modified := before.ModTime().UTC().Format(http.TimeFormat)
	if err := d.part.begin(record{Total: before.Size(), URL: shown(d.source.url), LastModified: modified}); err != nil {
		return err
	}
	if err := d.admit(); err != nil {
		return err
	}
	d.show()
	if err := d.copyFrom(ctx, in, before.Size()); err != nil {
		return err
	}
	after, err := in.Stat()
	if err != nil {
		return err
	}
	if d.part.size != before.Size() || before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) {
		return errChanged
	}
	return d.part.verify()
}

// copyFrom shares the blocks where the file system can do that, and then still
// reads them: the hash is of what is under the final name.
func (d *download) copyFrom(ctx context.Context, in *os.File, size int64) error {
	if unix.IoctlFileClone(int(d.part.file.Fd()), int(in.Fd())) != nil {
		if err := enoughRoom(d.part.file, size); err != nil {
			return err
		}
		return d.part.fill(ctx, in, d.show)
	}
	switch info, err := d.part.file.Stat(); {
	case err != nil:
		return err
	case info.Size() != size:
		return errChanged
	}
	return d.part.load(ctx, size, d.show)
}
