package baseimage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// pruneLock makes those that evict take turns, so that they don't evict more than
// they must together.
const pruneLock = ".lock"

// abandonedFor is how long Ensure leaves alone what a killed call has fetched of
// other bundles: the call may be made again.
const abandonedFor = 24 * time.Hour

// Prune evicts the least recently used bundles until no more than the retention are
// left, and returns the ids of those that it evicted. Bundles that are in use or
// named in keep stay, and count. It also removes what killed processes have left.
// Each eviction is a warning to the Logger. On an error the ids are valid too.
func (s *Store) Prune(ctx context.Context, keep ...string) (evicted []string, err error) {
	dir, leave, err := s.enter(false)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer leave()
	evicted, err = s.evict(ctx, dir.Root(), keep)
	err = errors.Join(err, sweep(ctx, dir.Root(), 0), sweepLocks(dir.Root()))
	return evicted, wrap(ctx, opPrune, s.opts.CacheDir, err)
}

// tidy is what Ensure does about the rest of the cache. One look at the directory
// says whether there is anything to do.
func (s *Store) tidy(ctx context.Context, cache *os.Root, keep string) error {
	names, err := plainfile.NamesIn(cache)
	if err != nil {
		return err
	}
	bundles, leftovers := 0, false
	for _, name := range names {
		if isName(name) {
			bundles++
		}
		leftovers = leftovers || strings.HasPrefix(name, newPrefix) || strings.HasPrefix(name, gonePrefix)
	}
	if bundles > s.opts.Retention {
		if _, err := s.evict(ctx, cache, []string{keep}); err != nil {
			return err
		}
	}
	if leftovers {
		return sweep(ctx, cache, abandonedFor)
	}
	return nil
}

// evict removes bundles beyond the retention.
func (s *Store) evict(ctx context.Context, cache *os.Root, keep []string) ([]string, error) {
	lock := &bundleLock{root: cache, name: pruneLock}
	if err := lock.open(); err != nil {
		return nil, err
	}
	defer lock.close()
	if err := lock.take(ctx, 0, true); err != nil {
		return nil, err
	}
	ids, err := bundleIDs(cache)
	if err != nil {
		return nil, err
	}
	used := make(map[string]time.Time, len(ids))
	for _, id := range ids {
		used[id] = lastUsed(cache, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(used[a].Compare(used[b]), cmp.Compare(a, b)) })
	var (
		evicted []string
		errs    []error
	)
	for _, id := range ids {
		if len(ids)-len(evicted) <= s.opts.Retention || ctx.Err() != nil {
			break
		}
		if slices.Contains(keep, id) {
			continue
		}
		removed, err := s.discard(ctx, cache, id, false)
		if err != nil && !errors.Is(err, errInUse) {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
		}
		if removed {
			evicted = append(evicted, id)
			s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "base image evicted", slog.String("bundle", id),
				slog.Time("last_used", used[id]), slog.Int("retention", s.opts.Retention))
		}
	}
	return evicted, errors.Join(errs...)
}

// sweep removes what killed processes have left: bundles on their way out at once,
// those that nobody prepares any more when they are older than age.
func sweep(ctx context.Context, cache *os.Root, age time.Duration) error {
	names, err := plainfile.NamesIn(cache)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if strings.HasPrefix(name, gonePrefix) {
			errs = append(errs, cache.RemoveAll(name))
		}
		if id, ok := strings.CutPrefix(name, newPrefix); ok && isName(id) {
			errs = append(errs, sweepNew(cache, id, age))
		}
	}
	return errors.Join(errs...)
}

func sweepNew(cache *os.Root, id string, age time.Duration) error {
	info, err := cache.Lstat(newPrefix + id)
	if err != nil || time.Since(info.ModTime()) < age {
		return nil // young, or installed or removed meanwhile
	}
	lock, err := openLock(cache, id)
	if err != nil {
		return err
	}
	defer lock.close()
	if err := lock.try(lockWork, true); err != nil {
		return notLocked(err)
	}
	fault.Point("base image: abandoned")
	return cache.RemoveAll(newPrefix + id)
}

// sweepLocks removes the lock files of bundles that do not exist.
func sweepLocks(cache *os.Root) error {
	locks, err := openBundle(cache, locksDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer locks.Close()
	ids, err := plainfile.NamesIn(locks)
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		errs = append(errs, sweepLock(cache, id))
	}
	return errors.Join(errs...)
}

func sweepLock(cache *os.Root, id string) error {
	for _, name := range []string{id, newPrefix + id} {
		if _, err := cache.Lstat(name); !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	lock, err := openLock(cache, id)
	if err != nil {
		return err
	}
	defer lock.close()
	for _, at := range []int64{lockWork, lockLook, lockUse} {
		if err := lock.try(at, true); err != nil {
			return notLocked(err)
		}
	}
	if _, err := cache.Lstat(id); !errors.Is(err, os.ErrNotExist) {
		return err // it was installed meanwhile
	}
	return cache.Remove(lock.name)
}

// notLocked drops the error that says that somebody else is at work.
func notLocked(err error) error {
	if errors.Is(err, filelock.ErrLocked) {
		return nil
	}
	return err
}
