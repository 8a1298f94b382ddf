package baseimage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// gonePrefix begins the name of what is on its way out.
const gonePrefix = ".gone-"

var errForeign = errors.New("what is in its place is no bundle and was left alone")

// Remove takes a bundle out of the cache, and what is left of preparing it. The
// error is BASE_IMAGE_IN_USE while any store, this one included, has returned it or
// a VM holds it, and BASE_IMAGE_RESOLVE_FAILED when it is not there.
func (s *Store) Remove(ctx context.Context, id string) error {
	dir, leave, err := s.enter(false)
	if errors.Is(err, os.ErrNotExist) {
		return absent(opRemove, id)
	}
	if err != nil {
		return err
	}
	defer leave()
	if ours, err := isBundle(dir.Root(), id); err != nil || !ours {
		if err != nil {
			return wrap(ctx, opRemove, id, err)
		}
		return absent(opRemove, id)
	}
	removed, err := s.discard(ctx, dir.Root(), id, true)
	if err == nil && !removed {
		return absent(opRemove, id)
	}
	return wrap(ctx, opRemove, id, err)
}

// discard removes a bundle that nobody uses, or returns errInUse. Unless patient,
// it does not wait for those that only look at it.
func (s *Store) discard(ctx context.Context, cache *os.Root, id string, patient bool) (removed bool, err error) {
	lock, err := openLock(cache, id)
	if err != nil {
		return false, err
	}
	defer lock.close()
	if patient {
		err = lock.take(ctx, lockWork, true)
	} else {
		err = lock.try(lockWork, true)
	}
	if errors.Is(err, filelock.ErrLocked) {
		return false, errInUse
	}
	if err != nil {
		return false, err
	}
	if err := s.exclude(ctx, cache, lock, id, patient); err != nil {
		return false, err
	}
	if ours, err := isBundle(cache, id); err != nil || !ours {
		return false, err // somebody else was first
	}
	fault.Point("base image: still there")
	gone, err := setAside(cache, id)
	if err != nil {
		return false, err
	}
	fault.Point("base image: set aside")
	return true, errors.Join(
		cache.RemoveAll(gone),
		cache.RemoveAll(newPrefix+id),
		cache.Remove(lock.name)) // with every lock held: see try
}

// exclude shuts everybody else out, or returns errInUse. The caller holds lockWork.
func (s *Store) exclude(ctx context.Context, cache *os.Root, lock *bundleLock, id string, patient bool) error {
	if err := lock.exclude(ctx, patient); err != nil {
		return err
	}
	holders, err := livePins(cache, id)
	if err == nil && len(holders) > 0 {
		err = fmt.Errorf("%w by %s", errInUse, holders[0])
	}
	if err != nil {
		return errors.Join(err, lock.readmit())
	}
	return nil
}

// setAside takes a bundle's name away in one step and returns the new one.
func setAside(cache *os.Root, id string) (string, error) {
	gone := gonePrefix + rand.Text()
	return gone, cache.Rename(id, gone)
}

// isBundle reports whether the name id stands for a bundle, be it a damaged one. A
// cache may lie in a directory with other things in it: only what has at least one
// of the names that every bundle has is ours to remove. A link is too, as it has no
// content.
func isBundle(cache *os.Root, id string) (bool, error) {
	if !isName(id) {
		return false, nil
	}
	info, err := cache.Lstat(id)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		return true, nil
	}
	for _, name := range []string{recordName, usedName, usesName} {
		if !info.IsDir() {
			break
		}
		if _, err := cache.Lstat(path.Join(id, name)); !errors.Is(err, os.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, nil
}

// isName reports whether id can be the name of a bundle's directory.
func isName(id string) bool {
	return id != "" && id[0] != '.' && !strings.Contains(id, "/")
}

// bundleIDs returns the ids of all bundles, damaged ones among them.
func bundleIDs(cache *os.Root) ([]string, error) {
	names, err := plainfile.NamesIn(cache)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, name := range names {
		ours, err := isBundle(cache, name)
		if err != nil {
			return nil, err
		}
		if ours {
			ids = append(ids, name)
		}
	}
	return ids, nil
}
