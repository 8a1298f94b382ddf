package plainfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

var (
	// ErrIrregular is about what is neither a file with content nor absent.
	ErrIrregular = errors.New("not a regular file")
	// ErrReplaced is about a name that stands for another file by now.
	ErrReplaced = errors.New("it was replaced while it was opened")
)

// OpenIn opens a regular file in dir for reading, and no link to one. A root
// follows links that stay inside it, so what was opened is compared with what has
// the name. A FIFO does not block it. The error matches [os.ErrNotExist],
// [ErrIrregular] or [ErrReplaced].
func OpenIn(dir *os.Root, name string) (*os.File, os.FileInfo, error) {
	named, err := dir.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !named.Mode().IsRegular() {
		return nil, nil, pathError("open", name, ErrIrregular)
	}
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(info, named) {
		err = pathError("open", name, ErrReplaced)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// NamesIn returns the names in dir, in no order.
func NamesIn(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

// SyncIn makes a file in dir durable, its content and its mode, or the names in a
// directory: "." is dir itself.
func SyncIn(dir *os.Root, name string) error {
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
