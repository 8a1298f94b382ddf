package baseimage

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/digest"
	"github.com/smartvm/smartvm/internal/draft"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/stage"
)

// bundleDir is the directory of a bundle while it is made.
type bundleDir struct {
	path string // absolute
	root *os.Root
}

// inNewDir has fill make the content of a directory that then becomes dir by one
// rename. Nothing is left of it when that fails, and what is left of it when this
// process is killed goes with the next one that packs beside it.
func inNewDir(dir string, fill func(*bundleDir) error) error {
	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // a bundle is made to be read by others
		return err
	}
	held, err := draft.Dir(parent)
	if err != nil {
		return err
	}
	defer held.Close()
	d := &bundleDir{path: held.Name()}
	if d.root, err = os.OpenRoot(d.path); err == nil {
		err = errors.Join(d.finish(fill), d.root.Close())
	}
	if err == nil {
		err = unix.Rename(d.path, path) // os.Rename would not replace an empty directory
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(d.path))
	}
	return plainfile.Sync(parent)
}

func (d *bundleDir) finish(fill func(*bundleDir) error) error {
	if err := fill(d); err != nil {
		return err
	}
	fault.Point("pack: filled")
	if err := d.root.Chmod(".", 0o755); err != nil {
		return err
	}
	fault.Point("pack: readable")
	return plainfile.SyncIn(d.root, ".")
}

// copy copies a file as cheaply as the file system allows.
func (d *bundleDir) copy(ctx context.Context, source, name string) error {
	place, err := new(stage.Space).Choose(source, []*os.Root{d.root})
	if err != nil {
		return err
	}
	defer place.Release()
	if _, err := place.Copy(ctx, name); err != nil {
		return err
	}
	return d.root.Chmod(name, 0o644)
}

// hash reads a file, and sees that it is on the disk.
func (d *bundleDir) hash(ctx context.Context, name string, begin func(string, int64) fetch.Task) (sum string, size int64, err error) {
	f, err := d.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	size = info.Size()
	task := begin(name+" sha256", size)
	defer func() { task.End(err) }()
	if sum, err = digest.Sum(ctx, io.TeeReader(f, &meter{task: task, total: size})); err != nil {
		return "", 0, err
	}
	return sum, size, f.Sync()
}

// meter shows how much has been written to it.
type meter struct {
	task        fetch.Task
	done, total int64 // bytes
}

// Write counts.
func (m *meter) Write(data []byte) (int, error) {
	m.done += int64(len(data))
	m.task.Set(m.done, m.total)
	return len(data), nil
}

// writeManifest writes the manifest, which has to be one that can be read.
func (d *bundleDir) writeManifest(m *Manifest) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if _, err := ParseManifest(data); err != nil {
		return err
	}
	f, err := d.root.OpenFile(manifestFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	return errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
}

// notRegular says why a file can't be used, "" if it can.
func notRegular(path string) string {
	if path == "" {
		return "is required"
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err.Error()
	case !info.Mode().IsRegular():
		return path + " is not a regular file"
	}
	return ""
}

// notContent is notRegular for a file that must not be empty, as no file of a bundle
// may.
func notContent(path string) string {
	if message := notRegular(path); message != "" {
		return message
	}
	if info, err := os.Stat(path); err == nil && info.Size() == 0 {
		return path + " is empty"
	}
	return ""
}

// notFree says why a directory can't be made at path, "" if it can.
func notFree(path string) string {
	if path == "" {
		return "is required"
	}
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return ""
	case err != nil:
		return err.Error()
	case len(entries) > 0:
		return path + " is not empty"
	}
	return ""
}
