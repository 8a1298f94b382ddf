package confine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/mountinfo"
	"github.com/smartvm/smartvm/internal/proc"
)

// Root is the directory that is / for a process.
type Root struct {
	// Own is true when it is the one of this process: nothing is hidden from it.
	Own bool `json:"own"`
	// Path is where it is for us; "" when no mount here shows it.
	Path string `json:"path,omitempty"`
	// Proc is true when a proc file system is mounted below it, which shows processes.
	Proc bool `json:"proc"`
}

// Files are the open files of a process.
type Files struct {
	Open int `json:"open"`
	// Outside are those with a place in a file system that the process can't reach from
	// its root: somebody gave them to it.
	Outside []OpenFile `json:"outside"`
}

// OpenFile is one open file.
type OpenFile struct {
	FD   int    `json:"fd"`
	Path string `json:"path"`
	// Kind is file, directory, fifo, socket, character device, block device or link.
	Kind string `json:"kind"`
	// Access is "r", "w", "rw", or "" for one that only stands for its path.
	Access string `json:"access"`
}

// view is what a process sees of the tree of files.
type view struct {
	own    bool
	mounts map[uint64]bool // that are below its root, by number
	link   string          // where its root is, as the kernel writes it for us
	mount  uint64          // that its root is on
}

// readMounts reads the root and the open files, which only the list of mounts tells
// apart: a path in another mount namespace looks like any other.
func (r *Report) readMounts(ctx context.Context, dir proc.Dir) error {
	text, err := dir.Read("mountinfo", listSize)
	switch {
	case hidden(err):
		return nil
	case errors.Is(err, unix.EINVAL):
		// Of a process that is ending: it has left its namespace (mounts_open_common in
		// fs/proc_namespace.c).
		return unix.ESRCH
	case err != nil:
		return err
	}
	mounts, err := mountinfo.Parse(bytes.NewReader(text))
	if err != nil {
		return err
	}
	v := view{mounts: map[uint64]bool{}}
	for _, m := range mounts {
		v.mounts[uint64(m.ID)] = true
	}
	if err := r.readRoot(dir, mounts, &v); err != nil || r.Root == nil {
		return err
	}
	return r.readFiles(ctx, dir, &v)
}

func (r *Report) readRoot(dir proc.Dir, mounts []mountinfo.Mount, v *view) error {
	st, err := dir.Stat("root")
	if hidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if v.link, err = dir.Link("root"); err != nil {
		return err
	}
	var own unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, "/", 0, unix.STATX_BASIC_STATS, &own); err != nil {
		return &os.PathError{Op: "statx", Path: "/", Err: err}
	}
	v.mount = st.Mnt_id
	v.own = st.Ino == own.Ino && st.Dev_major == own.Dev_major && st.Dev_minor == own.Dev_minor
	r.Root = &Root{
		Own: v.own, Path: v.link,
		Proc: slices.ContainsFunc(mounts, func(m mountinfo.Mount) bool { return m.Kind == "proc" }),
	}
	if !v.own && v.link == "/" { // the top of another mount namespace
		r.Root.Path, err = findRoot(mounts)
	}
	return err
}

// findRoot returns where we see what is / in a list of another mount namespace.
func findRoot(theirs []mountinfo.Mount) (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	ours, err := mountinfo.Parse(f)
	if err != nil {
		return "", err
	}
	for _, m := range theirs {
		if m.Point == "/" {
			return mountinfo.Find(ours, m.Device, m.Root), nil
		}
	}
	return "", nil
}

func (r *Report) readFiles(ctx context.Context, dir proc.Dir, v *view) error {
	names, err := dir.Names("fd")
	if hidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	files := &Files{Open: len(names), Outside: []OpenFile{}}
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		f, outside, err := readFile(dir, name, v)
		if proc.Gone(err) {
			continue // it was closed just now
		}
		if err != nil {
			return err
		}
		if outside {
			files.Outside = append(files.Outside, f)
		}
	}
	slices.SortFunc(files.Outside, func(a, b OpenFile) int { return a.FD - b.FD })
	r.Files = files
	return nil
}

func readFile(dir proc.Dir, name string, v *view) (f OpenFile, outside bool, err error) {
	if f.FD, err = strconv.Atoi(name); err != nil {
		return f, false, err
	}
	if f.Path, err = dir.Link("fd/" + name); err != nil {
		return f, false, err
	}
	st, err := dir.Stat("fd/" + name)
	if err != nil {
		return f, false, err
	}
	link, err := dir.Lstat("fd/" + name)
	if err != nil {
		return f, false, err
	}
	f.Kind, f.Access = kindOf(st.Mode), accessOf(link.Mode)
	return f, v.outside(f.Path, st.Mnt_id), nil
}

// outside reports whether a file has a place that can't be reached from the root.
// Pipes, sockets and memory have none: "pipe:[1]", "anon_inode:[kvm-vm]",
// "/memfd:x (deleted)".
func (v *view) outside(path string, mount uint64) bool {
	switch {
	case v.own, !strings.HasPrefix(path, "/"), strings.HasPrefix(path, "/memfd:"):
		return false
	case mount == v.mount:
		return !mountinfo.Below(v.link, path)
	}
	return !v.mounts[mount]
}

func kindOf(mode uint16) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFCHR:
		return "character device"
	case unix.S_IFBLK:
		return "block device"
	default:
		return "link"
	}
}

// accessOf reads it from the mode of the link in /proc/PID/fd, see proc_pid_fd(5).
func accessOf(mode uint16) (access string) {
	if mode&unix.S_IRUSR != 0 {
		access = "r"
	}
	if mode&unix.S_IWUSR != 0 {
		access += "w"
	}
	return access
}
