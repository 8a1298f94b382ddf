package baseimage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/filelock"
)

// locksDir has a lock file per bundle. It lies beside the bundles, so that a
// bundle can be locked before it exists and while its directory is replaced.
const locksDir = ".locks"

// The bytes of a bundle's lock file. They are taken in this order.
const (
	// lockWork is held by the one that prepares, repairs, replaces or removes. It is
	// waited for: a download may be under way.
	lockWork = iota
	// lockLook is shared by those that read what they have not leased yet, and held by
	// the one that removes or replaces. It is waited for: looking takes as long as
	// hashing does.
	lockLook
	// lockUse is shared by every store that has returned the bundle, until it is closed,
	// and held by the one that removes or replaces. That one never waits for it:
	// the bundle is in use.
	lockUse
)

var errInUse = errors.New("it is in use")

// bundleLock is an open lock file. All that is held through it goes with close.
type bundleLock struct {
	root *os.Root // the cache; it belongs to the caller
	name string
	file *os.File
}

// openLock opens the lock file of a bundle, which it makes if need be.
func openLock(cache *os.Root, id string) (*bundleLock, error) {
	l := &bundleLock{root: cache, name: lockName(id)}
	return l, l.open()
}

func lockName(id string) string { return path.Join(locksDir, id) }

func (l *bundleLock) open() error {
	f, err := l.root.OpenFile(l.name, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err := l.root.Mkdir(locksDir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		f, err = l.root.OpenFile(l.name, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil {
		return err
	}
	l.file = f
	return nil
}

func (l *bundleLock) close() { _ = filelock.Close(l.file) }

// take waits for a lock until ctx ends.
func (l *bundleLock) take(ctx context.Context, at int64, exclusive bool) error {
	return filelock.Repeat(ctx, func() error { return l.try(at, exclusive) })
}

// try takes a lock, or returns [filelock.ErrLocked]. Whoever removes a bundle removes its lock
// file too, and does so with every lock held. So a file without a name can turn up
// only where nothing is held yet, and then the next one of that name counts.
func (l *bundleLock) try(at int64, exclusive bool) error {
	kind := filelock.Shared
	if exclusive {
		kind = filelock.Exclusive
	}
	for {
		if err := filelock.Try(l.file, filelock.Byte(at), kind); err != nil {
			return err
		}
		gone, err := isUnlinked(l.file)
		if err != nil || !gone {
			return err
		}
		l.close()
		if err := l.open(); err != nil {
			return err
		}
	}
}

// release gives one lock back.
func (l *bundleLock) release(at int64) error { return filelock.Release(l.file, filelock.Byte(at)) }

// exclude takes lockLook and lockUse, or returns errInUse. The caller holds lockWork. Where it
// would rather go on than wait for those that look, patient is false.
func (l *bundleLock) exclude(ctx context.Context, patient bool) error {
	var err error
	if patient {
		err = l.take(ctx, lockLook, true)
	} else {
		err = l.try(lockLook, true)
	}
	if err == nil {
		err = l.try(lockUse, true)
	}
	if errors.Is(err, filelock.ErrLocked) {
		return errors.Join(errInUse, l.release(lockLook))
	}
	return err
}

// readmit gives back what exclude took.
func (l *bundleLock) readmit() error { return errors.Join(l.release(lockUse), l.release(lockLook)) }

// isUnlinked reports whether an open file has lost its name.
func isUnlinked(f *os.File) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Nlink == 0, nil
}
