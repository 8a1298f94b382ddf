// Package filelock locks open files, against other processes and against other
// opens of the same file in this one. The kernel drops a lock with the descriptor
// of a killed process.
//
// Locks are open file description locks: unlike those of flock they can be asked
// about without being taken, and unlike classic POSIX locks closing another
// descriptor of the same file does not drop them.
package filelock

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrLocked is matched by the error of [Try] about a lock that somebody else holds.
var ErrLocked = errors.New("locked by somebody else")

// Kind says who is excluded.
type Kind int16

// Kinds of locks. A shared one needs a file that is open for reading, an exclusive
// one a file that is open for writing.
const (
	Shared    Kind = unix.F_RDLCK // those who want it exclusively
	Exclusive Kind = unix.F_WRLCK // everybody
)

// Range is the part of a file that is locked, whether it exists or not. The zero
// value is all of the file.
type Range struct {
	Start int64
	Size  int64 // in bytes, 0 for all from Start on
}

// Byte is the range of one byte.
func Byte(at int64) Range { return Range{at, 1} }

// Try takes a lock or turns it into one of the other kind, at once or not at all.
func Try(f *os.File, r Range, kind Kind) error {
	err := set(f, r, int16(kind))
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrLocked
	}
	return err
}

// Release gives a lock back. It is no error if there is none.
func Release(f *os.File, r Range) error { return set(f, r, unix.F_UNLCK) }

// Held reports whether somebody else holds a lock of either kind.
func Held(f *os.File, r Range) (bool, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: r.Start, Len: r.Size}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l)
	return l.Type != unix.F_UNLCK, wrap(f, err)
}

func set(f *os.File, r Range, kind int16) error {
	l := unix.Flock_t{Type: kind, Start: r.Start, Len: r.Size}
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
		if !errors.Is(err, unix.EINTR) {
			return wrap(f, err)
		}
	}
}

func wrap(f *os.File, err error) error {
	if err != nil {
		err = &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return err
}
