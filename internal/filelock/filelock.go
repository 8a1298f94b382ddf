// Package filelock locks open files, against other processes and against other
// opens of the same file in this one. The kernel drops a lock with the descriptor
// of a killed process.
//
// Locks are open file description locks: unlike those of flock they can be asked
// about without being taken, and unlike classic POSIX locks closing another
// descriptor of the same file does not drop them.
package filelock

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/pause"
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

// The pauses of a wait: first short, for locks that are held while little happens, then
// longer. Each varies, so that two who wait do not keep step.
const (
	firstPause = 100 * time.Microsecond
	lastPause  = 5 * time.Millisecond
)

// Wait is Try, but asks again until it gets the lock or ctx ends, which is its cause: a
// wait in the kernel could not be ended.
func Wait(ctx context.Context, f *os.File, r Range, kind Kind) error {
	return Repeat(ctx, func() error { return Try(f, r, kind) })
}

// Repeat calls try, which takes a lock in a way of its own, as Wait does: until its error
// matches [ErrLocked] no more, or ctx ends.
func Repeat(ctx context.Context, try func() error) error {
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		if err := try(); !errors.Is(err, ErrLocked) {
			return err
		}
		if err := pause.For(ctx, wait/2+rand.N(wait)); err != nil { //nolint:gosec // nobody gains by guessing it
			return err
		}
	}
}

// Release gives a lock back. It is no error if there is none.
func Release(f *os.File, r Range) error { return set(f, r, unix.F_UNLCK) }

// Close gives back all locks on f and closes it. Closing alone would leave them for a moment
// with a process that another goroutine is about to start: until its program is there, it
// is a copy of this one, with all files open.
func Close(f *os.File) error { return errors.Join(Release(f, Range{}), f.Close()) }

// CloseFlock is Close for a lock of flock(2), which a directory can have.
func CloseFlock(f *os.File) error {
	return errors.Join(os.NewSyscallError("flock", unix.Flock(int(f.Fd()), unix.LOCK_UN)), f.Close())
}

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
