package baseimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/smartvm/smartvm/internal/strict"
)

// findings are how a bundle of the cache compares with the wanted one.
type findings struct {
	exists bool           // there is something of its name
	rec    *record        // nil where there is nothing that can be read
	fault  error          // why there is a name and no record
	other  bool           // its files are not those that are wanted
	broken map[part]error // files that must be fetched again, and why
	next   record         // what the record should say
}

// sound reports whether the bundle can be used as it is.
func (f *findings) sound() bool {
	return f.rec != nil && !f.other && len(f.broken) == 0 && f.next == *f.rec
}

// inspect compares the bundle in the cache with the wanted one. The caller holds a
// lock that keeps the directory in place.
func (s *Store) inspect(ctx context.Context, cache *os.Root, want *wanted, afresh bool) (*findings, error) {
	found := &findings{}
	id := want.Manifest.BundleID
	dir, err := openBundle(cache, id)
	if errors.Is(err, os.ErrNotExist) {
		return found, nil
	}
	found.exists = true
	if d, ok := errors.AsType[*damage](err); ok {
		found.fault = d
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	found.rec, err = readRecordAs(dir, func(text []byte) (*record, error) {
		return s.records.of(id, text, func() (*record, error) { return parseRecord(text, id) })
	})
	if d, ok := errors.AsType[*damage](err); ok {
		found.fault = d
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	if found.other = !want.fits(found.rec); found.other {
		return found, nil
	}
	found.next = want.update(found.rec)
	found.broken, err = s.checkParts(ctx, dir, found.rec, afresh)
	return found, err
}

// checkParts verifies the files at once. What comes back per part is damage.
func (s *Store) checkParts(ctx context.Context, dir *os.Root, rec *record, afresh bool) (map[part]error, error) {
	var (
		group sync.WaitGroup
		own   = rec.Manifest.parts()
		errs  = make([]error, len(own))
	)
	for i, p := range own {
		group.Go(func() {
			errs[i] = s.check(ctx, dir, rec.Manifest.artifact(p), afresh)
		})
	}
	group.Wait()
	faults := make(map[part]error)
	for i, p := range own {
		if d, ok := errors.AsType[*damage](errs[i]); ok {
			faults[p], errs[i] = d, nil
		} else if errs[i] != nil {
			errs[i] = fmt.Errorf("%s: %w", rec.Manifest.artifact(p).FileName, errs[i])
		}
	}
	return faults, errors.Join(errs...)
}

// openBundle opens the directory of a bundle, and no link to one. The error matches
// [os.ErrNotExist], or is a *damage where something else has its name.
func openBundle(cache *os.Root, id string) (*os.Root, error) {
	for {
		named, err := cache.Lstat(id)
		if err != nil {
			return nil, err
		}
		if !named.IsDir() {
			return nil, damaged("it is no directory but %s", kindOf(named.Mode()))
		}
		dir, err := cache.OpenRoot(id)
		if err != nil {
			return nil, err
		}
		opened, err := dir.Stat(".")
		if err == nil && os.SameFile(named, opened) {
			return dir, nil
		}
		if err = errors.Join(err, dir.Close()); err != nil {
			return nil, err
		} // else it was replaced in between
	}
}

// readRecord reads bundle.json in the directory of the bundle id. What is wrong with
// its content is a *damage.
func readRecord(dir *os.Root, id string) (*record, error) {
	return readRecordAs(dir, func(text []byte) (*record, error) { return parseRecord(text, id) })
}

func readRecordAs(dir *os.Root, parse func([]byte) (*record, error)) (*record, error) {
	f, _, err := openPlain(dir, recordName)
	if d, ok := errors.AsType[*damage](err); ok {
		return nil, damaged("%s: %v", recordName, d)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, strict.MaxSize+1)) // one more is too large
	if err != nil && !errors.Is(err, syscall.EIO) {
		return nil, err
	}
	var rec *record
	if err == nil {
		rec, err = parse(data)
	}
	if err != nil {
		return nil, damaged("%s: %v", recordName, err)
	}
	return rec, nil
}

// lastUsed is the time of modification of a small file, so that a use costs no
// rewrite. Without the file the bundle counts as never used.
func lastUsed(cache *os.Root, id string) time.Time {
	info, err := cache.Lstat(path.Join(id, usedName))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime().UTC()
}

// touch notes that the bundle is used now.
func touch(cache *os.Root, id string) error {
	name, now := path.Join(id, usedName), time.Now()
	err := cache.Chtimes(name, now, now)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := cache.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
