package image

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/filelock"
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

// lock waits for the lock of an open lock file until ctx ends.
func lock(ctx context.Context, f *os.File, kind filelock.Kind) error {
	for {
		err := filelock.Try(f, filelock.Range{}, kind)
		if !errors.Is(err, filelock.ErrLocked) {
			return err
		}
		if err := pause.For(ctx, lockPace); err != nil {
			return err
		}
	}
}
