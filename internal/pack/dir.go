package pack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// walker goes through a directory tree. Each step is a name without separators
// that is looked up in an open directory and never followed if it is a link, so
// that nobody who changes the tree meanwhile can lead it elsewhere.
type walker struct {
	tree  *tree
	notes *notes
	links map[inode]string // files with several names, and the first of them
	own   inode            // of the image that is being made
}

// inode identifies a file.
type inode struct {
	major, minor uint32
	ino          uint64
}

// walk adds all entries of a directory, sorted by name, parents first.
func walk(ctx context.Context, root *os.File, t *tree, n *notes) error {
	w := &walker{tree: t, notes: n, own: t.own, links: make(map[inode]string)}
	st, err := statOf(root)
	if err != nil {
		return err
	}
	e := entryOf("", st)
	if e.xattrs, err = readXattrs(handle(root)); err != nil {
		return &entryError{name: "", err: err}
	}
	if err := t.add(e, nil); err != nil {
		return err
	}
	return w.children(ctx, root, "")
}

// handle is a path to an open file, whatever became of its name.
func handle(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d/.", f.Fd()) }

// children adds what is in the directory name.
func (w *walker) children(ctx context.Context, dir *os.File, name string) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return &entryError{name: name, err: err}
	}
	slices.Sort(names)
	for _, base := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		path := base
		if name != "" {
			path = name + "/" + base
		}
		err := w.child(ctx, dir, base, path)
		if _, named := errors.AsType[*entryError](err); err != nil && !named {
			err = &entryError{name: path, err: err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// child adds one entry of dir, and what is below it. path is its whole name.
func (w *walker) child(ctx context.Context, dir *os.File, base, path string) error {
	st, err := stat(int(dir.Fd()), base, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return err
	}
	if inodeOf(st) == w.own {
		return errors.New("it is the image itself: write it to a place outside of the tree")
	}
	e := entryOf(path, st)
	if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		w.notes.leftOut(path, "socket")
		return nil
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return w.mountPoint(e)
	}
	if first, again := w.links[inodeOf(st)]; again {
		e.kind, e.link, e.size = tar.TypeLink, first, 0
		return w.tree.add(e, nil)
	}
	if st.Nlink > 1 && e.kind != tar.TypeDir {
		w.links[inodeOf(st)] = path
	}
	if e.xattrs, err = readXattrs(handle(dir) + "/" + base); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return w.file(dir, base, e, st)
	case unix.S_IFDIR:
		return w.directory(ctx, dir, base, e, st)
	case unix.S_IFLNK:
		if e.link, err = readLink(dir, base); err != nil {
			return err
		}
	}
	return w.tree.add(e, nil)
}

// mountPoint adds what something else is mounted on, without that.
func (w *walker) mountPoint(e entry) error {
	w.notes.leftOut(e.name, "what is mounted there")
	if e.kind != tar.TypeDir {
		e.kind, e.size, e.major, e.minor = tar.TypeReg, 0, 0, 0
	}
	return w.tree.add(e, nil)
}

func (w *walker) directory(ctx context.Context, parent *os.File, base string, e entry, st *unix.Statx_t) error {
	dir, err := w.open(parent, base, unix.O_DIRECTORY, st)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := w.tree.add(e, nil); err != nil {
		return err
	}
	return w.children(ctx, dir, e.name)
}

// file adds a regular file, and fails if it was written to meanwhile.
func (w *walker) file(dir *os.File, base string, e entry, before *unix.Statx_t) error {
	f, err := w.open(dir, base, 0, before)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := w.tree.add(e, f); err != nil {
		return err
	}
	after, err := statOf(f)
	if err != nil {
		return err
	}
	if after.Size != before.Size || after.Mtime != before.Mtime || after.Ctime != before.Ctime {
		return errChanged
	}
	return nil
}

// open opens what stat has seen, or fails. O_NONBLOCK is for the FIFO that may
// have come in its place.
func (w *walker) open(dir *os.File, base string, flags int, st *unix.Statx_t) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), base, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	f := os.NewFile(uintptr(fd), base)
	now, err := statOf(f)
	if err == nil && (inodeOf(now) != inodeOf(st) || now.Mode&unix.S_IFMT != st.Mode&unix.S_IFMT) {
		err = errChanged
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func entryOf(name string, st *unix.Statx_t) entry {
	e := entry{name: name, mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid, mtime: st.Mtime.Sec}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.kind, e.size = tar.TypeReg, int64(st.Size)
	case unix.S_IFDIR:
		e.kind = tar.TypeDir
	case unix.S_IFLNK:
		e.kind = tar.TypeSymlink
	case unix.S_IFCHR:
		e.kind, e.major, e.minor = tar.TypeChar, st.Rdev_major, st.Rdev_minor
	case unix.S_IFBLK:
		e.kind, e.major, e.minor = tar.TypeBlock, st.Rdev_major, st.Rdev_minor
	case unix.S_IFIFO:
		e.kind = tar.TypeFifo
	}
	return e
}

func inodeOf(st *unix.Statx_t) inode {
	return inode{major: st.Dev_major, minor: st.Dev_minor, ino: st.Ino}
}

func statOf(f *os.File) (*unix.Statx_t, error) { return stat(int(f.Fd()), "", unix.AT_EMPTY_PATH) }

func stat(dir int, name string, flags int) (*unix.Statx_t, error) {
	var st unix.Statx_t
	if err := unix.Statx(dir, name, flags, unix.STATX_BASIC_STATS, &st); err != nil {
		return nil, os.NewSyscallError("statx", err)
	}
	return &st, nil
}

func readLink(dir *os.File, base string) (string, error) {
	text := make([]byte, maxTarget+1)
	n, err := unix.Readlinkat(int(dir.Fd()), base, text)
	if err != nil {
		return "", os.NewSyscallError("readlink", err)
	}
	return string(text[:n]), nil
}
