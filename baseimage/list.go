package baseimage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/filelock"
)

// List returns all bundles in the cache, the most recently used first. It hashes
// nothing.
func (s *Store) List(ctx context.Context) ([]Status, error) {
	dir, leave, err := s.enter(false)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer leave()
	ids, err := bundleIDs(dir.Root())
	if err != nil {
		return nil, wrap(ctx, opList, s.opts.CacheDir, err)
	}
	var list []Status
	for _, id := range ids {
		st, err := status(dir.Root(), id)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, wrap(ctx, opList, id, err)
		}
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b Status) int { return b.LastUsedAt.Compare(a.LastUsedAt) })
	return list, nil
}

// status looks at a bundle without a lock, which may be removed or replaced
// meanwhile: that is no damage. The error matches [os.ErrNotExist] if it is gone.
func status(cache *os.Root, id string) (Status, error) {
	for {
		dir, err := openBundle(cache, id)
		if err != nil {
			return unreadable(cache, id, err)
		}
		st, err := describe(cache, dir, id)
		moved := err == nil && st.Damaged != "" && !isAt(cache, id, dir)
		_ = dir.Close()
		if !moved {
			return st, err
		}
	}
}

// isAt reports whether an open directory still has its name.
func isAt(cache *os.Root, name string, dir *os.Root) bool {
	named, err := cache.Lstat(name)
	if err != nil {
		return false
	}
	opened, err := dir.Stat(".")
	return err == nil && os.SameFile(named, opened)
}

func describe(cache, dir *os.Root, id string) (Status, error) {
	rec, err := readRecord(dir, id)
	if err != nil {
		return unreadable(cache, id, err)
	}
	st := Status{
		Bundle:  rec.bundle(filepath.Join(cache.Name(), id), lastUsed(cache, id)),
		Damaged: obviousDamage(dir, rec),
	}
	for _, p := range rec.Manifest.parts() {
		st.SizeBytes += rec.Manifest.artifact(p).SizeBytes
	}
	st.InUse, err = inUse(cache, id)
	return st, err
}

// unreadable is the status of a bundle that says nothing about itself.
func unreadable(cache *os.Root, id string, err error) (Status, error) {
	d, ok := errors.AsType[*damage](err)
	if !ok {
		return Status{}, err
	}
	st := Status{Bundle: Bundle{ID: id, LastUsedAt: lastUsed(cache, id)}, Damaged: d.what}
	st.InUse, err = inUse(cache, id)
	return st, err
}

// obviousDamage is what can be seen without reading the files.
func obviousDamage(dir *os.Root, rec *record) string {
	for _, p := range rec.Manifest.parts() {
		a := rec.Manifest.artifact(p)
		f, err := openSized(dir, a)
		if err != nil {
			return a.FileName + ": " + err.Error()
		}
		_ = f.Close()
	}
	return ""
}

func inUse(cache *os.Root, id string) (bool, error) {
	holders, err := livePins(cache, id)
	if err != nil || len(holders) > 0 {
		return len(holders) > 0, err
	}
	f, err := cache.Open(lockName(id))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	return filelock.Held(f, filelock.Byte(lockUse))
}

// Bundle returns one bundle of the cache as its description has it. It neither
// verifies nor leases it: that is what Ensure and Pin are for. The error is
// BASE_IMAGE_RESOLVE_FAILED when it is not there, and BASE_IMAGE_DAMAGED when its
// description can't be read.
func (s *Store) Bundle(ctx context.Context, id string) (*Bundle, error) {
	var b Bundle
	err := s.watch(ctx, opOpen, id, func(cache *os.Root) error {
		dir, err := openBundle(cache, id)
		if err != nil {
			return err
		}
		defer dir.Close()
		rec, err := readRecord(dir, id)
		if err != nil {
			return err
		}
		b = rec.bundle(filepath.Join(cache.Name(), id), lastUsed(cache, id))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &b, nil
}

// Verify hashes the files of a bundle, whatever is known about them. The error is
// BASE_IMAGE_DAMAGED, with each damaged file in its Details, or
// BASE_IMAGE_RESOLVE_FAILED when there is no such bundle. Nothing is repaired.
func (s *Store) Verify(ctx context.Context, id string) error {
	return s.watch(ctx, opVerify, id, func(cache *os.Root) error {
		dir, err := openBundle(cache, id)
		if err != nil {
			return err
		}
		defer dir.Close()
		rec, err := readRecord(dir, id)
		if err != nil {
			return err
		}
		faults, err := s.checkParts(ctx, dir, rec, true)
		if err != nil || len(faults) == 0 {
			return err
		}
		e := broken(opVerify, id)
		for _, p := range parts {
			if faults[p] != nil {
				e.Details = append(e.Details, errcode.Detail{Field: rec.Manifest.artifact(p).FileName, Message: faults[p].Error()})
			}
		}
		return e
	})
}

func broken(op, id string) *errcode.Error {
	return &errcode.Error{Code: errcode.BaseImageDamaged, Op: op, Subject: id, Hint: "ensure it again, which repairs it, or remove it"}
}

// watch calls do with a bundle that nobody can remove meanwhile.
func (s *Store) watch(ctx context.Context, op, id string, do func(cache *os.Root) error) error {
	dir, leave, err := s.enter(false)
	if errors.Is(err, os.ErrNotExist) {
		return absent(op, id)
	}
	if err != nil {
		return err
	}
	defer leave()
	cache := dir.Root()
	if ours, err := isBundle(cache, id); err != nil || !ours {
		if err != nil {
			return wrap(ctx, op, id, err)
		}
		return absent(op, id)
	}
	lock, err := openLock(cache, id)
	if err != nil {
		return wrap(ctx, op, id, err)
	}
	defer lock.close()
	if err := lock.take(ctx, lockLook, false); err != nil {
		return wrap(ctx, op, id, err)
	}
	err = do(cache)
	d, damaged := errors.AsType[*damage](err)
	e, coded := errors.AsType[*errcode.Error](err)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return absent(op, id)
	case damaged:
		e := broken(op, id)
		e.Err = d
		return e
	case coded:
		return e
	default:
		return wrap(ctx, op, id, err)
	}
}
