package image

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/pause"
)

// lockPace is how often a waiting caller tries again: there is no lock that can be
// awaited together with a context.
const lockPace = 20 * time.Millisecond

// openLock opens a lock file, which is made and stays. Its lock is dropped when it
// is closed, or its process killed. Two opens exclude each other in one process too.
func openLock(dir *os.Root, name string) (*os.File, error) {
	return dir.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK, 0o600)
}

// lock takes the lock (unix.LOCK_EX, or unix.LOCK_SH) of an open lock file, and
// waits for it until ctx ends.
func lock(ctx context.Context, f *os.File, how int) error {
	for {
		free, err := tryLock(f, how)
		if free || err != nil {
			return err
		}
		if err := pause.For(ctx, lockPace); err != nil {
			return err
		}
	}
}

// tryLock takes the lock if nobody holds it.
func tryLock(f *os.File, how int) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, &fs.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}
