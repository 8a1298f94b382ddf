// Package privdir makes and opens directories that nobody else can tamper with.
//
// smartvm's default directories lie in places where everybody may write, /tmp
// and /dev/shm. There another user can be first: with a directory of that name,
// or with a link to elsewhere. So a path is walked one component at a time, on
// descriptors, and every directory on the way must be beyond the reach of
// others before the next step is taken from it (contract S2.2).
//
// The package works on Linux; elsewhere [Open] and [Ensure] fail with
// [errors.ErrUnsupported].
package privdir

import (
	"errors"
	"os"
	"path/filepath"
)

// Dir is a private directory, held open: what is done through it happens in the
// directory that was checked, wherever its path leads meanwhile. Its methods may
// be called from several goroutines.
type Dir struct {
	root *os.Root
	path string
}

// Open opens the directory at path, which must exist. A relative path starts at
// the working directory, and ".." is taken out of the text before the walk.
//
// Each directory on the way must belong to root or the effective user, and
// group and others must not be able to write to it unless it is sticky.
// Symbolic links are followed when they belong to root or the effective user.
// The directory itself must belong to the effective user, and only that user
// may write to it. That others may read it is accepted and left as it is: it
// may be a directory that the user made for more than smartvm, and everything
// that smartvm makes in it is closed to others by itself.
//
// What breaks those rules is INSECURE_PATH, whatever else goes wrong
// DIRECTORY_FAILED.
func Open(path string) (*Dir, error) { return open(path, false, os.Geteuid()) }

// Ensure is Open, but makes each missing component of path, with mode 0700.
func Ensure(path string) (*Dir, error) { return open(path, true, os.Geteuid()) }

// OpenOwned is Open for a directory of another user, who is trusted with what is in it:
// only he may write to it. It is for reading what root has prepared.
func OpenOwned(path string, owner int) (*Dir, error) { return open(path, false, owner) }

func open(asked string, create bool, owner int) (*Dir, error) {
	if asked == "" {
		return nil, failed(opOpen, asked, errors.New("the path is empty"))
	}
	path, err := filepath.Abs(asked)
	if err != nil {
		return nil, failed(opOpen, asked, err)
	}
	checked, path, err := walk(path, create, owner)
	if err != nil {
		return nil, failed(opOpen, asked, err)
	}
	defer func() { _ = checked.Close() }()
	root, err := openSame(checked, path)
	if err != nil {
		return nil, failed(opOpen, asked, err)
	}
	return &Dir{root: root, path: path}, nil
}

// openSame opens path as a root. [os.OpenRoot] takes no descriptor, so what it
// has found is compared with the directory that was checked.
func openSame(checked *os.File, path string) (*os.Root, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	want, err := checked.Stat()
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	got, err := root.Stat(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	if !os.SameFile(want, got) {
		return nil, errors.Join(&insecure{path: path, why: "was replaced while it was opened"}, root.Close())
	}
	return root, nil
}

// Path returns the absolute path of the directory without any symbolic link.
func (d *Dir) Path() string { return d.path }

// Root returns the directory for all that Dir has no method for. It stays valid
// until Close.
func (d *Dir) Root() *os.Root { return d.root }

// Close closes the directory.
func (d *Dir) Close() error {
	if err := d.root.Close(); err != nil {
		return failed("close directory", d.path, err)
	}
	return nil
}
