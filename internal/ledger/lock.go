package ledger

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/plainfile"
)

// Locks are open file description locks: unlike flock they can be asked about
// without being taken, and unlike classic POSIX locks closing another
// descriptor of the same file does not drop them.

var errLocked = errors.New("locked by another process")

// tryLock takes the exclusive lock, or returns errLocked at once.
func tryLock(f *os.File) error {
	err := setLock(f, unix.F_OFD_SETLK, unix.F_WRLCK)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errLocked
	}
	return err
}

// isLocked reports whether somebody else holds the exclusive lock.
func isLocked(f *os.File) (bool, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l)
	return l.Type != unix.F_UNLCK, err
}

func setLock(f *os.File, cmd int, kind int16) error {
	l := unix.Flock_t{Type: kind} // start 0, length 0: the whole file
	for {
		err := unix.FcntlFlock(f.Fd(), cmd, &l)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// guard takes a lock on the runtime directory itself. It separates building a
// directory under a temporary name (unix.LOCK_SH) from removing the leftovers of
// such building (unix.LOCK_EX).
func guard(runtime string, how int) (*os.File, error) {
	f, err := plainfile.Open(runtime, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
	}
}
