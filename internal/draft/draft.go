// Package draft makes what is not whole yet under a name of its own, beside the name
// that it will have. Its maker holds a lock on it. A killed maker leaves it with a free
// lock, and the next one that makes a draft in the same directory removes it.
//
// The lock is one of flock: those of package filelock need a file that is open for
// writing to exclude others, and no directory is.
package draft

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// prefix begins the names of drafts. Those of the stores are others, since what says
// that they are abandoned is another lock.
const prefix = ".new-pack-"

var pattern = regexp.MustCompile(`^\.new-pack-[A-Z2-7]{26}$`)

// errSwept is about a draft that was taken for abandoned: it is made first, and locked
// then.
var errSwept = errors.New("it was removed before it was locked")

// Dir makes a directory with mode 0700 in parent; the file's Name is its path. It
// belongs to the caller until the file is closed, and is to be renamed or removed
// before.
func Dir(parent string) (*os.File, error) {
	return begin(parent, func(path string) (*os.File, error) {
		if err := os.Mkdir(path, 0o700); err != nil {
			return nil, err
		}
		fault.Point("draft: made")
		dir, err := open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errSwept
		}
		return dir, err
	})
}

// File is Dir for a file with mode 0600, which is open for reading and writing.
func File(parent string) (*os.File, error) {
	return begin(parent, func(path string) (*os.File, error) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		fault.Point("draft: made")
		return f, err
	})
}

func begin(parent string, create func(path string) (*os.File, error)) (*os.File, error) {
	sweep(parent)
	for {
		f, err := create(filepath.Join(parent, prefix+rand.Text()))
		if err == nil {
			if err = claim(f); err == nil {
				fault.Point("draft: locked")
				return f, nil
			}
			_ = f.Close()
		}
		if !errors.Is(err, errSwept) {
			return nil, err
		}
	}
}

// claim locks a draft, unless somebody who sweeps was faster. Where the file system
// knows no locks there is none, and nobody sweeps.
func claim(f *os.File) error {
	if errors.Is(lock(f), unix.EWOULDBLOCK) {
		return errSwept
	}
	held, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(f.Name())
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(held, named) {
		return errSwept
	}
	return err
}

// sweep removes what killed processes of this user have left in parent. What can't be
// removed does not keep anybody from making something new.
func sweep(parent string) {
	names, err := plainfile.Names(parent)
	if err != nil {
		return
	}
	for _, name := range names {
		if path := filepath.Join(parent, name); isDraft(path) {
			remove(path)
		}
	}
}

// isDraft goes by the name, the owner and the kind, and not by the mode: the bits that
// a directory inherits are in it, and those that it gets when it is whole.
func isDraft(path string) bool {
	if !pattern.MatchString(filepath.Base(path)) {
		return false
	}
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || int64(st.Uid) != int64(os.Geteuid()) {
		return false
	}
	kind := st.Mode & unix.S_IFMT
	return kind == unix.S_IFDIR || kind == unix.S_IFREG
}

// remove removes a draft unless its maker lives.
func remove(path string) {
	f, err := open(path)
	if err != nil {
		return
	}
	defer f.Close()
	if lock(f) == nil {
		_ = os.RemoveAll(path)
	}
}

func open(path string) (*os.File, error) {
	return plainfile.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
}

func lock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
