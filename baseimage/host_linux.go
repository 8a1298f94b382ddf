package baseimage

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Locks are open file description locks on single bytes: they conflict between
// two opens of a file in one process as well, they can be asked about without
// being taken, and the kernel drops them with the descriptor of a killed process.

// tryLock takes or turns a lock on one byte of f, or returns errLocked at once.
func tryLock(f *os.File, at int64, exclusive bool) error {
	kind := int16(unix.F_RDLCK)
	if exclusive {
		kind = unix.F_WRLCK
	}
	err := setLock(f, at, kind)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errLocked
	}
	return err
}

// unlock gives back the lock on one byte of f.
func unlock(f *os.File, at int64) error { return setLock(f, at, unix.F_UNLCK) }

func setLock(f *os.File, at int64, kind int16) error {
	l := unix.Flock_t{Type: kind, Start: at, Len: 1}
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
		return nil
	}
}

// isLocked reports whether anybody else holds a lock on one byte of f.
func isLocked(f *os.File, at int64) (bool, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l)
	return l.Type != unix.F_UNLCK, err
}

// isUnlinked reports whether an open file has lost its name.
func isUnlinked(f *os.File) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Nlink == 0, nil
}
