package baseimage

import (
	"context"
	"errors"
	"os"
	"path"

	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// install gives a prepared bundle its name, which is free.
func (s *Store) install(cache *os.Root, id string) error {
	if err := cache.Rename(newPrefix+id, id); err != nil {
		return err
	}
	fault.Point("base image: installed")
	return plainfile.SyncIn(cache, ".")
}

// refill puts prepared files into a bundle that is there, its record last.
func (s *Store) refill(cache *os.Root, next *record, todo []part) error {
	id := next.Manifest.BundleID
	names := []string{recordName}
	for _, p := range todo {
		names = append([]string{next.Manifest.artifact(p).FileName}, names...)
	}
	for _, name := range names {
		to := path.Join(id, name)
		if info, err := cache.Lstat(to); err == nil && info.IsDir() { // which a rename would not replace
			if err := cache.RemoveAll(to); err != nil {
				return err
			}
		}
		if err := cache.Rename(path.Join(newPrefix+id, name), to); err != nil {
			return err
		}
		fault.Point("base image: refilled")
	}
	if err := plainfile.SyncIn(cache, id); err != nil {
		return err
	}
	return cache.RemoveAll(newPrefix + id)
}

// replace puts a prepared bundle in the place of another one. Killed in between,
// it leaves none, and the next call fetches it.
func (s *Store) replace(ctx context.Context, cache *os.Root, lock *bundleLock, id string) error {
	if err := s.exclude(ctx, cache, lock, id, true); err != nil {
		return err
	}
	gone, err := setAside(cache, id)
	if err == nil {
		err = s.install(cache, id)
	}
	if err = errors.Join(err, lock.readmit()); err != nil {
		return err
	}
	return cache.RemoveAll(gone)
}

// mayReplace reports as an error what keeps the bundle from being replaced.
func (s *Store) mayReplace(ctx context.Context, cache *os.Root, lock *bundleLock, id string) error {
	ours, err := isBundle(cache, id)
	if err != nil {
		return err
	}
	if !ours {
		return errForeign
	}
	if err := s.exclude(ctx, cache, lock, id, true); err != nil {
		return err
	}
	return lock.readmit()
}
