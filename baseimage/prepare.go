package baseimage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// newPrefix begins the name of the directory in which a bundle is prepared. The
// rest is the bundle's id, so that the next call finds what a killed one has
// fetched. Whoever holds lockWork of the bundle owns it.
const newPrefix = ".new-"

// prepare fetches what is missing into a directory of its own and then puts it in
// place. Where found is the same bundle, that is done file by file: those that use
// it lose nothing, as the content is what they were promised.
func (s *Store) prepare(ctx context.Context, cache *os.Root, lock *bundleLock, want *wanted, found *findings, force bool) (*record, error) {
	id := want.Manifest.BundleID
	repair := found.rec != nil && !found.other && !force
	next, todo := want.record, want.Manifest.parts()
	if repair {
		next, todo = found.next, found.parts()
		s.report(ctx, id, found)
	}
	if found.exists && (found.rec == nil || found.other) {
		if err := s.mayReplace(ctx, cache, lock, id); err != nil { // before something is fetched for nothing
			return nil, found.because(err)
		}
	}
	if !repair {
		next.CreatedAt = s.date()
	}
	if err := s.fetchAll(ctx, cache, want, &next, todo, force); err != nil {
		return nil, err
	}
	fault.Point("base image: prepared")
	var err error
	switch {
	case !found.exists:
		err = s.install(cache, id)
	case found.rec != nil && sameFiles(&found.rec.Manifest, &next.Manifest):
		err = s.refill(cache, &next, todo)
	default:
		err = s.replace(ctx, cache, lock, id)
	}
	if err != nil {
		return nil, err
	}
	dir, err := openBundle(cache, id)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	for _, p := range todo {
		if err := s.learn(ctx, dir, next.Manifest.artifact(p)); err != nil {
			return nil, err
		}
	}
	return &next, nil
}

// because says in an error what is wrong with the bundle that is there.
func (f *findings) because(err error) error {
	if f.fault != nil {
		return fmt.Errorf("%w; %w", err, f.fault)
	}
	return fmt.Errorf("the cache has another one: %w", err)
}

// parts returns the files that must be fetched, in their order.
func (f *findings) parts() []part {
	var todo []part
	for _, p := range parts {
		if f.broken[p] != nil {
			todo = append(todo, p)
		}
	}
	return todo
}

// report tells the operator that the disk, or somebody, damages files.
func (s *Store) report(ctx context.Context, id string, found *findings) {
	for _, p := range found.parts() {
		s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "damaged base image file is fetched again", slog.String("bundle", id),
			slog.String("file", found.rec.Manifest.artifact(p).FileName), slog.Any("reason", found.broken[p]))
	}
}

// sameFiles reports whether two bundles have the same content under the same names.
func sameFiles(a, b *Manifest) bool {
	for _, p := range parts {
		x, y := a.artifact(p), b.artifact(p)
		if x.FileName != y.FileName || x.SHA256 != y.SHA256 {
			return false
		}
	}
	return a.Arch == b.Arch
}

// fetchAll makes the directory of preparation complete: the files of todo, next
// with their hashes and sizes as the record, and the places for the uses.
func (s *Store) fetchAll(ctx context.Context, cache *os.Root, want *wanted, next *record, todo []part, afresh bool) error {
	id := want.Manifest.BundleID
	dir, err := openNew(cache, id, afresh)
	if err != nil {
		return err
	}
	defer dir.Close()
	fault.Point("base image: directory")
	err = s.obtainAll(ctx, dir, want, next, todo)
	if err == nil {
		fault.Point("base image: fetched")
		if len(todo) > 0 {
			next.Source.FetchedAt = s.date()
		}
		err = complete(dir, next)
	}
	if err != nil && isFull(err) { // otherwise the next call goes on with what there is
		err = errors.Join(err, cache.RemoveAll(newPrefix+id))
	}
	return err
}

// obtainAll fetches the files at once. The first failure ends the others too.
func (s *Store) obtainAll(ctx context.Context, dir *os.Root, want *wanted, next *record, todo []part) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for _, p := range todo {
		// Where from is what the source says now, what is what the record promises.
		a := *want.Manifest.artifact(p)
		if promised := next.Manifest.artifact(p); promised.SHA256 != "" {
			a.SHA256, a.SizeBytes = promised.SHA256, promised.SizeBytes
		}
		group.Go(func() {
			if err := s.obtain(ctx, dir, &a, want.etags[p]); err != nil {
				cancel(fmt.Errorf("%s: %w", a.FileName, err))
				return
			}
			a.URL = fetch.Redact(a.URL)
			*next.Manifest.artifact(p) = a
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// openNew returns the directory in which the bundle is prepared, with what an
// earlier call left there.
func openNew(cache *os.Root, id string, afresh bool) (*os.Root, error) {
	name := newPrefix + id
	info, err := cache.Lstat(name)
	if err == nil && (afresh || !info.IsDir()) {
		err = cache.RemoveAll(name)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := cache.Mkdir(name, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	now := time.Now()
	if err := cache.Chtimes(name, now, now); err != nil { // it is no leftover
		return nil, err
	}
	return openBundle(cache, name)
}

// complete writes the rest of a bundle beside its files, removes everything else,
// and returns when it has reached the disk.
func complete(dir *os.Root, rec *record) error {
	data, err := rec.encode()
	if err != nil {
		return err
	}
	keep := make(map[string]bool)
	for _, p := range rec.Manifest.parts() {
		keep[rec.Manifest.artifact(p).FileName] = true
	}
	names, err := plainfile.NamesIn(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if keep[name] {
			continue
		}
		if err := dir.RemoveAll(name); err != nil {
			return err
		}
	}
	if err := dir.Mkdir(usesName, 0o700); err != nil {
		return err
	}
	if err := writeNew(dir, usedName, nil, false); err != nil {
		return err
	}
	if err := writeNew(dir, recordName, data, true); err != nil {
		return err
	}
	return plainfile.SyncIn(dir, ".")
}

// writeNew makes a file, with durable one that is on the disk.
func writeNew(dir *os.Root, name string, data []byte, durable bool) error {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
