package stage

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openSource follows links. O_NONBLOCK keeps a FIFO from blocking the open; it
// means nothing for files and disks.
func openSource(name string) (*source, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(fmt.Errorf("stat: %w", err), unix.Close(fd))
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFREG && kind != unix.S_IFBLK {
		return nil, errors.Join(errNotAnImage, unix.Close(fd))
	}
	in := &source{name: name, file: os.NewFile(uintptr(fd), name), device: kind == unix.S_IFBLK}
	in.memory = !in.device && onTmpfs(in.file) // the node of a device lies in a tmpfs, its data does not
	return in, nil
}

// canShare reports whether there may be a reflink of the source. To find out by trying
// takes longer than to copy a small disk.
func (s *source) canShare() bool { return !s.device && !s.memory }

// reflink makes out share all blocks of the source.
func (s *source) reflink(out *os.File) error {
	if !s.canShare() {
		return unix.EOPNOTSUPP
	}
	return unix.IoctlFileClone(int(out.Fd()), int(s.file.Fd()))
}

// cloneInto makes a reflink of the source on the file system of dir, in a file
// without a name. Where there is no such file, Copy tries a reflink once more.
func (s *source) cloneInto(dir *os.Root) (*os.File, error) {
	if !s.canShare() {
		return nil, unix.EOPNOTSUPP
	}
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	fd, err := unix.Openat(int(d.Fd()), ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir.Name(), Err: err}
	}
	clone := os.NewFile(uintptr(fd), dir.Name())
	if err := s.reflink(clone); err != nil {
		return nil, errors.Join(err, clone.Close())
	}
	return clone, nil
}

// linkInto names a file that has no name. It goes by /proc as open(2) says of
// O_TMPFILE: the direct way needs a capability.
func linkInto(file, dir *os.File, name string) error {
	from := fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, from, int(dir.Fd()), name, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &fs.PathError{Op: "link", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return nil
}

// reflinkRefused tells "not here" from a failure: unsupported by the file
// system or its driver, across file systems, unaligned or of unequal
// attributes, forbidden.
func reflinkRefused(err error) bool {
	return slices.ContainsFunc([]error{unix.EOPNOTSUPP, unix.ENOTTY, unix.ENOSYS, unix.EXDEV, unix.EINVAL, unix.EPERM},
		func(e error) bool { return errors.Is(err, e) })
}

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// nextData finds the first data at or after offset; more is false when there is none.
func nextData(f *os.File, offset int64) (start int64, more bool, err error) {
	start, err = unix.Seek(int(f.Fd()), offset, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return 0, false, nil
	}
	return start, err == nil, err
}

// nextHole finds the end of the data at offset; the end of the file counts as a hole.
func nextHole(f *os.File, offset int64) (int64, error) {
	return unix.Seek(int(f.Fd()), offset, unix.SEEK_HOLE)
}

func allocated(f *os.File) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("stat: %w", err)
	}
	return st.Blocks * 512, nil
}

func onTmpfs(f *os.File) bool {
	var fsys unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &fsys) == nil && fsys.Type == unix.TMPFS_MAGIC
}

// roomOf asks the file system of dir, and for a tmpfs the memory as well.
func roomOf(dir *os.Root) (room, error) {
	d, err := dir.Open(".")
	if err != nil {
		return room{}, err
	}
	defer func() { _ = d.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		return room{}, fmt.Errorf("stat: %w", err)
	}
	var fsys unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &fsys); err != nil {
		return room{}, fmt.Errorf("statfs: %w", err)
	}
	has := room{device: st.Dev, free: int64(fsys.Bavail) * fsys.Frsize, memory: -1}
	if fsys.Blocks == 0 { // a tmpfs mounted with size=0
		has.free = -1
	}
	if fsys.Type == unix.TMPFS_MAGIC {
		has.memory, err = availableMemory()
	}
	return has, err
}

// availableMemory is the kernel's own estimate of what can be had without
// swapping (proc_meminfo(5), MemAvailable), in bytes.
func availableMemory() (int64, error) {
	const file = "/proc/meminfo"
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(text, "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.Join(fmt.Errorf("%s has no MemAvailable", file), lines.Err())
}
