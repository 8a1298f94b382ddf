package baseimage

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/smartvm/smartvm/internal/fetch"
)

// PoisonMemory makes every remembered hash wrong, so that whoever relies on one
// finds damage. It is an error if that of a file is not remembered.
func PoisonMemory(ctx context.Context, s *Store, id string) error {
	cache, leave, err := s.enter(false)
	if err != nil {
		return err
	}
	defer leave()
	dir, err := openBundle(cache.Root(), id)
	if err != nil {
		return err
	}
	defer dir.Close()
	rec, err := readRecord(dir, id)
	if err != nil {
		return err
	}
	for _, p := range rec.Manifest.parts() {
		// What is open for writing only can't be read, so that it must be known.
		f, err := dir.OpenFile(rec.Manifest.artifact(p).FileName, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = s.digests.SHA256(ctx, f)
		if err = errors.Join(err, s.digests.Learn(ctx, f, "remembered"), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// SetClock replaces the clock by which answers of servers grow old.
func SetClock(s *Store, now func() time.Time) { s.now = now }

// SetPatience makes downloads give up soon.
func SetPatience(s *Store) error {
	o := s.opts
	s.fetch = fetch.New(fetch.Options{
		Transport: o.Transport, Logger: o.Logger, Offline: o.Offline, Attempts: 2, Backoff: time.Millisecond, MaxBackoff: time.Millisecond,
	})
	var err error
	s.resolver, err = newResolver(o.BucketURL, s.fetch)
	return err
}

// HoldWork does what a process does that prepares a bundle, until release is called.
func HoldWork(ctx context.Context, cacheDir, id string) (release func(), err error) {
	cache, err := os.OpenRoot(cacheDir)
	if err != nil {
		return nil, err
	}
	lock, err := openLock(cache, id)
	if err != nil {
		return nil, err
	}
	if err := lock.take(ctx, lockWork, true); err != nil {
		return nil, err
	}
	return func() { lock.close(); _ = cache.Close() }, nil
}

// ReadAndWriteRecord parses a bundle.json and encodes what was found.
func ReadAndWriteRecord(data []byte, id string) ([]byte, error) {
	rec, err := parseRecord(data, id)
	if err != nil {
		return nil, err
	}
	return rec.encode()
}
