package privdir

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm/internal/plainfile"
)

// Create makes the file name with mode 0600 for reading and writing. It fails
// when there is anything of that name, be it a dangling link. Like the other
// methods it takes a name without separators, so that there is no directory in
// between to redirect it.
func (d *Dir) Create(name string) (*os.File, error) {
	if err := d.checkName("create file", name); err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, d.failed("create file", name, err)
	}
	return f, nil
}

// WriteFile puts data into the file name, mode 0600, and replaces what was there
// in one step: a reader sees the old content or the new. With durable it returns
// only when the content and the name have reached the disk, which is for what
// must outlive a power cut.
func (d *Dir) WriteFile(name string, data []byte, durable bool) error {
	if err := d.checkName("write file", name); err != nil {
		return err
	}
	temporary := ".new-" + rand.Text()
	if err := d.write(temporary, data, durable); err != nil {
		return d.failed("write file", name, err)
	}
	if err := d.root.Rename(temporary, name); err != nil {
		return d.failed("write file", name, errors.Join(err, d.root.Remove(temporary)))
	}
	if durable {
		if err := plainfile.SyncIn(d.root, "."); err != nil {
			return d.failed("write file", name, err)
		}
	}
	return nil
}

// write makes a new file, or nothing.
func (d *Dir) write(name string, data []byte, durable bool) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.root.Remove(name))
	}
	return nil
}

// RemoveAll removes name and, if it is a directory, all that is in it. Links are
// removed, never followed. What is gone already is no error, so two may remove
// the same tree at once.
func (d *Dir) RemoveAll(name string) error {
	if err := d.checkName("remove", name); err != nil {
		return err
	}
	if err := d.root.RemoveAll(name); err != nil {
		return d.failed("remove", name, err)
	}
	return nil
}

func (d *Dir) checkName(op, name string) error {
	if filepath.Base(name) != name || name == "." || name == ".." || name == string(filepath.Separator) {
		return d.failed(op, name, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid})
	}
	return nil
}

func (d *Dir) failed(op, name string, err error) error {
	return failed(op, filepath.Join(d.path, name), err)
}
