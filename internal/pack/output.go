package pack

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/draft"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// output is the image while it is made: a file beside its final name, which gets
// that name when it is whole. If this process is killed, the next image that is made
// beside it removes the file. It is held open, so that what a tool that failed has
// removed still occupies its room while the reason is looked for.
type output struct {
	file *os.File
	path string // absolute, of the file
	name string // absolute, what it will be called
}

func createOutput(path string) (*output, error) {
	name, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Lstat(name); err == nil && info.IsDir() {
		return nil, &fs.PathError{Op: "create", Path: path, Err: unix.EISDIR}
	}
	f, err := draft.File(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	return &output{file: f, path: f.Name(), name: name}, nil
}

func (o *output) inode() (inode, error) {
	st, err := statOf(o.file)
	if err != nil {
		return inode{}, err
	}
	return inodeOf(st), nil
}

// commit gives the file its name, for good.
func (o *output) commit() error {
	if err := o.same(); err != nil {
		return err
	}
	if err := errors.Join(o.file.Chmod(0o644), o.file.Sync()); err != nil {
		return err
	}
	fault.Point("image: whole")
	if err := os.Rename(o.path, o.name); err != nil {
		return err
	}
	return plainfile.Sync(filepath.Dir(o.name))
}

// same sees that the tools, which know the file by its path, wrote to the file
// that is held open.
func (o *output) same() error {
	held, err := o.file.Stat()
	if err != nil {
		return err
	}
	found, err := os.Lstat(o.path)
	if err == nil && !os.SameFile(held, found) {
		err = errors.New("the image was replaced while it was made")
	}
	return err
}

// discard removes what was not committed.
func (o *output) discard() error {
	err := os.Remove(o.path)
	if errors.Is(err, fs.ErrNotExist) { // committed, or removed by a tool
		err = nil
	}
	return errors.Join(err, o.file.Close())
}

// full reports whether the file system has no room left for a tool's next write.
// The tools say so in words only.
func (o *output) full() bool {
	const write = 1 << 20 // as much as one block of squashfs
	var st unix.Statfs_t
	return unix.Fstatfs(int(o.file.Fd()), &st) == nil && int64(st.Bavail)*st.Bsize < write
}
