package baseimage

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/fetch"
)

// Ensure returns a bundle that is whole and verified, from the cache or fetched.
// The first call of a store hashes its files, at once; later ones only look
// whether a file may have changed. A damaged file is fetched again. The bundle then
// stays where it is until the store is closed. Bundles beyond the retention are
// evicted, the least recently used first and none that is in use.
//
// An artifact of the CI bucket has no published hash. The one of its first download
// is recorded and counts from then on; the size and, where it is an MD5, the ETag
// come from the listing. Later changes under the same name are not taken over, but
// by ForceDownload. The same goes for a local file without a hash in its manifest,
// as long as its size stays.
//
// If the source of latest, or the manifest of hosted, can't be reached, the newest
// bundle in the cache that fits stands in for it, with a warning to the Logger.
// Offline that is what is expected, and there is no warning. A server that answers
// with an error has been reached.
//
// A hosted manifest that has other hashes or file names than the bundle of its id
// in the cache replaces it as a whole. That, and a ForceDownload that brings other
// content, is BASE_IMAGE_IN_USE while anybody uses the old one, this store included.
//
// The other codes are INVALID_CONFIG for the request, INVALID_BASE_IMAGE_MANIFEST,
// BASE_IMAGE_MANIFEST_FAILED, BASE_IMAGE_RESOLVE_FAILED, VERSION_FETCH_FAILED,
// DOWNLOAD_FAILED, STAGE_FAILED for a local file, NO_SPACE, INSECURE_PATH,
// DIRECTORY_FAILED, CANCELLED and, for the rest, BASE_IMAGE_PREPARE_FAILED.
func (s *Store) Ensure(ctx context.Context, req Request) (*Bundle, error) {
	req, err := req.withDefaults(s.opts)
	if err != nil {
		return nil, err
	}
	dir, leave, err := s.enter(true)
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := s.ensure(ctx, dir.Root(), req)
	if err != nil {
		return nil, wrap(ctx, opEnsure, cmp.Or(req.ID, string(req.Preset)), err)
	}
	if err := s.tidy(ctx, dir.Root(), b.ID); err != nil {
		s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "base image cache could not be tidied", slog.Any("error", err))
	}
	return b, nil
}

func (s *Store) ensure(ctx context.Context, cache *os.Root, req Request) (*Bundle, error) {
	w, err := s.choose(ctx, cache, req)
	if err == nil {
		b, err := s.provide(ctx, cache, w, req)
		if err == nil || w.cached || req.Preset != Latest || req.ForceDownload || ctx.Err() != nil || !fetch.Unreachable(err) {
			return b, err
		}
		return s.standIn(ctx, cache, req, err)
	}
	if req.ForceDownload || ctx.Err() != nil || !fetch.Unreachable(err) {
		return nil, err
	}
	return s.standIn(ctx, cache, req, err)
}

// provide makes the wanted bundle be in the cache, and leases it.
func (s *Store) provide(ctx context.Context, cache *os.Root, want *wanted, req Request) (*Bundle, error) {
	id := want.Manifest.BundleID
	over, err := s.turns.take(ctx, id)
	if err != nil {
		return nil, err
	}
	defer over()
	lock, err := openLock(cache, id)
	if err != nil {
		return nil, err
	}
	defer lock.close()
	var rec *record
	if !req.ForceDownload {
		if rec, err = s.reuse(ctx, cache, lock, want, req.Verify); err != nil {
			return nil, err
		}
	}
	if rec == nil {
		if rec, err = s.restore(ctx, cache, lock, want, req.ForceDownload); err != nil {
			return nil, err
		}
	}
	if err := touch(cache, id); err != nil {
		return nil, err
	}
	b := rec.bundle(filepath.Join(cache.Name(), id), lastUsed(cache, id))
	b.FirecrackerVersion = want.Manifest.FirecrackerVersion
	return &b, nil
}

// reuse returns the record of the bundle if it is sound, leased. Several processes
// may look at once; nobody can remove what they look at.
func (s *Store) reuse(ctx context.Context, cache *os.Root, lock *bundleLock, want *wanted, afresh bool) (*record, error) {
	if !s.leased(want.Manifest.BundleID) {
		if err := lock.take(ctx, lockLook, false); err != nil {
			return nil, err
		}
	}
	found, err := s.inspect(ctx, cache, want, afresh)
	if err == nil && found.sound() {
		return found.rec, errors.Join(s.lease(cache, want.Manifest.BundleID), lock.release(lockLook))
	}
	// Whoever waits for lockWork must not keep its holder from excluding lookers.
	return nil, errors.Join(err, lock.release(lockLook))
}

// restore makes the bundle sound, alone, and returns its record, leased.
func (s *Store) restore(ctx context.Context, cache *os.Root, lock *bundleLock, want *wanted, force bool) (*record, error) {
	if err := lock.take(ctx, lockWork, true); err != nil {
		return nil, err
	}
	found, err := s.inspect(ctx, cache, want, false) // somebody may have done it meanwhile
	if err != nil {
		return nil, err
	}
	rec := found.rec
	if force || !found.sound() {
		fault.Point("base image: nothing yet")
		if rec, err = s.prepare(ctx, cache, lock, want, found, force); err != nil {
			return nil, err
		}
		fault.Point("base image: in place")
	}
	return rec, errors.Join(s.lease(cache, want.Manifest.BundleID), lock.release(lockWork))
}
