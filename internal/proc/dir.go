package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Dir is the open /proc/PID of one process. What is read through it is that
// process's, or an error that matches ESRCH: the directory of another process that
// gets the same pid later is another one.
type Dir struct{ fd int }

// OpenDir opens the directory of a process, to be closed. The error matches
// fs.ErrNotExist when the process has ended, even if its pid is in use again.
func OpenDir(id ID) (Dir, error) {
	if !id.ofThisBoot() {
		return Dir{-1}, errGone
	}
	path := "/proc/" + strconv.Itoa(id.PID)
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if gone(err) {
		return Dir{-1}, errGone
	}
	if err != nil {
		return Dir{-1}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	d := Dir{fd}
	if err := d.Check(id); err != nil {
		d.Close()
		return Dir{-1}, err
	}
	return d, nil
}

// Check reports whether the directory is that of a process which is alive. The error
// matches fs.ErrNotExist when it has ended.
func (d Dir) Check(id ID) error {
	text, err := d.Read("stat", statSize)
	if gone(err) {
		return errGone
	}
	if err != nil {
		return err
	}
	stat, err := ParseStat(text)
	if err != nil {
		return err
	}
	if stat.Field(3) == "Z" {
		return errGone
	}
	// Whoever has the pid now has had it since the directory was opened.
	pidfd, err := openID(id)
	if err == nil {
		_ = unix.Close(pidfd)
	}
	return err
}

// statSize is more than the fifty numbers of a stat file have.
const statSize = 4096

// Close closes the directory.
func (d Dir) Close() { _ = unix.Close(d.fd) }

// Read returns the content of a file in the directory. A file of more than limit
// bytes is an error.
func (d Dir) Read(name string, limit int64) ([]byte, error) {
	f, err := d.open(name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return data, err
}

// Names lists a directory in the directory, in no order.
func (d Dir) Names(name string) ([]string, error) {
	f, err := d.open(name, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d Dir) open(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Link returns the text of a link in the directory, such as that of fd/0.
func (d Dir) Link(name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.fd, name, buf)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

// Stat looks at a file in the directory, or at what a link there leads to. Nothing
// is opened by that.
func (d Dir) Stat(name string) (unix.Statx_t, error) { return d.statx(name, 0) }

// Lstat looks at a link itself.
func (d Dir) Lstat(name string) (unix.Statx_t, error) {
	return d.statx(name, unix.AT_SYMLINK_NOFOLLOW)
}

func (d Dir) statx(name string, flags int) (st unix.Statx_t, err error) {
	err = unix.Statx(d.fd, name, flags|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
	if err != nil {
		err = &os.PathError{Op: "statx", Path: name, Err: err}
	}
	return st, err
}

// Gone reports whether an error says that the process, or the thread, has ended.
func Gone(err error) bool { return gone(err) || errors.Is(err, errGone) }
