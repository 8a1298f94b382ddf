package baseimage

import (
	"context"
	"os"
	"time"

	"github.com/smartvm/smartvm/internal/fetch"
)

// PoisonMemory makes every remembered hash wrong, so that whoever relies on one
// finds damage.
func PoisonMemory(s *Store) {
	s.contents.mu.Lock()
	defer s.contents.mu.Unlock()
	for key, known := range s.contents.known {
		known.sha256 = "remembered"
		s.contents.known[key] = known
	}
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
