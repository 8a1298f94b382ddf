package privdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// maxLinks is the kernel's own limit of links in one path (path_resolution(7)).
	maxLinks = 40
	// maxTries bounds the game of make and open with somebody who removes.
	maxTries = 10

	writableByOthers = unix.S_IWGRP | unix.S_IWOTH
)

// walker goes down a path. It only ever holds one directory, and steps to the
// next by a name without separators that is not followed if it is a link.
type walker struct {
	create bool
	euid   uint32
	owner  uint32   // of the directory at the end
	here   *os.File // the directory that was reached, as O_PATH
	at     string   // its path, free of links
	rest   []string // the names to go
	links  int      // followed so far
}

// walk returns the directory at the absolute path, checked, and its path
// without links.
func walk(path string, create bool, owner int) (*os.File, string, error) {
	w := &walker{create: create, euid: uint32(os.Geteuid()), owner: uint32(owner), rest: strings.Split(path, "/")}
	if err := w.restart(); err != nil {
		return nil, "", err
	}
	for len(w.rest) > 0 {
		name := w.rest[0]
		w.rest = w.rest[1:]
		if name == "" || name == "." {
			continue
		}
		if err := w.checkParent(); err != nil {
			return nil, "", errors.Join(err, w.here.Close())
		}
		if err := w.step(name); err != nil {
			return nil, "", errors.Join(err, w.here.Close())
		}
	}
	if err := w.checkFinal(); err != nil {
		return nil, "", errors.Join(err, w.here.Close())
	}
	return w.here, w.at, nil
}

// restart goes to the root directory.
func (w *walker) restart() error {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	w.enter(fd, "/")
	return nil
}

func (w *walker) enter(fd int, path string) {
	if w.here != nil {
		_ = w.here.Close() // an O_PATH descriptor has nothing to lose
	}
	w.here, w.at = os.NewFile(uintptr(fd), path), path
}

// step goes to name, makes it if need be, or puts what a link says before the
// rest of the way.
func (w *walker) step(name string) error {
	path := filepath.Join(w.at, name)
	for range maxTries {
		fd, err := w.openDir(name)
		switch {
		case err == nil:
			w.enter(fd, path)
			return nil
		case errors.Is(err, unix.ENOTDIR):
			return w.follow(name)
		case !errors.Is(err, unix.ENOENT) || !w.create:
			return &fs.PathError{Op: "open", Path: path, Err: err}
		}
		if err := unix.Mkdirat(int(w.here.Fd()), name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return &fs.PathError{Op: "mkdir", Path: path, Err: err}
		}
	}
	return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("somebody keeps removing it")}
}

// openDir opens a directory but no link to one. O_DIRECTORY is also what makes
// the kernel mount an automount point.
func (w *walker) openDir(name string) (int, error) {
	return unix.Openat(int(w.here.Fd()), name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// follow reads the link name. Its owner and its text come from one descriptor.
func (w *walker) follow(name string) error {
	path := filepath.Join(w.at, name)
	fd, err := unix.Openat(int(w.here.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	link := os.NewFile(uintptr(fd), path)
	defer func() { _ = link.Close() }()
	st, err := stat(link)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return &fs.PathError{Op: "open", Path: path, Err: unix.ENOTDIR}
	}
	if !w.trusts(st.Uid) {
		return w.insecure(path, st, "is a symbolic link of somebody else")
	}
	if w.links++; w.links > maxLinks {
		return &fs.PathError{Op: "open", Path: path, Err: unix.ELOOP}
	}
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", text)
	if err != nil {
		return &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	target := string(text[:n])
	w.rest = append(strings.Split(target, "/"), w.rest...)
	if filepath.IsAbs(target) {
		return w.restart()
	}
	return nil
}

func (w *walker) trusts(uid uint32) bool { return uid == 0 || uid == w.euid }

// checkParent refuses a directory in which others could replace the next name.
// In a sticky one they can't: only the owner of an entry, or of the directory,
// may rename it.
func (w *walker) checkParent() error {
	st, err := stat(w.here)
	if err != nil {
		return err
	}
	if !w.trusts(st.Uid) {
		return w.insecure(w.at, st, "belongs to somebody else")
	}
	if st.Mode&writableByOthers != 0 && st.Mode&unix.S_ISVTX == 0 {
		return w.insecure(w.at, st, "can be written by others and is not sticky")
	}
	return nil
}

// checkFinal demands more of the last directory: a sticky one would still let
// others plant files.
func (w *walker) checkFinal() error {
	st, err := stat(w.here)
	if err != nil {
		return err
	}
	if st.Uid != w.owner {
		return w.insecure(w.at, st, "belongs to somebody else")
	}
	if st.Mode&writableByOthers != 0 {
		return w.insecure(w.at, st, "can be written by others")
	}
	return nil
}

func (w *walker) insecure(path string, st unix.Stat_t, why string) error {
	return &insecure{path: path, why: why, facts: fmt.Sprintf("owner uid %d, mode %04o", st.Uid, st.Mode&0o7777), euid: w.euid}
}

func stat(f *os.File) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return st, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st, nil
}
