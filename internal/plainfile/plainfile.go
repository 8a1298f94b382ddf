// Package plainfile opens files that can't be polled: regular ones, and
// directories. os.OpenFile finds that out anew for each, by five system calls,
// which a start that takes a few milliseconds feels.
package plainfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Open is os.OpenFile with the flags of open(2) and, for new files, mode 0600.
// What is opened must be a regular file or a directory: reading anything else
// through it would block a thread.
func Open(path string, flags int) (*os.File, error) {
	fd, err := open(path, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func open(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return fd, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// Write makes or replaces the content of a file. It is os.WriteFile with mode 0600.
func Write(path string, data []byte) error {
	fd, err := open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return err
	}
	for len(data) > 0 && err == nil {
		var n int
		if n, err = unix.Write(fd, data); errors.Is(err, unix.EINTR) {
			err = nil
		}
		data = data[max(n, 0):]
	}
	return errors.Join(pathError("write", path, err), pathError("close", path, unix.Close(fd)))
}

// Touch makes a file unless it is there, and reports whether it has.
func Touch(path string) (made bool, err error) {
	fd, err := open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	made = err == nil
	if errors.Is(err, unix.EEXIST) {
		fd, err = open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_NONBLOCK)
	}
	if err != nil {
		return false, err
	}
	return made, pathError("close", path, unix.Close(fd))
}

func pathError(op, path string, err error) error {
	if err != nil {
		err = &os.PathError{Op: op, Path: path, Err: err}
	}
	return err
}

// Names returns the names in a directory, in no order.
func Names(dir string) ([]string, error) {
	f, err := Open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

// Sync makes the names in a directory durable.
func Sync(dir string) error {
	f, err := Open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Read returns what one read of a small file gives, at most a page: enough for
// the files of /proc.
func Read(path string) ([]byte, error) {
	fd, err := open(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	return buf[:max(n, 0)], errors.Join(pathError("read", path, err), pathError("close", path, unix.Close(fd)))
}
