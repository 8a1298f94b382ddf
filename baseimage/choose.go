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

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/fetch"
)

// choose finds out which bundle a request means. Servers are asked once in
// [freshFor]; a file is read each time.
func (s *Store) choose(ctx context.Context, cache *os.Root, req Request) (*wanted, error) {
	q := req.question()
	over, err := s.turns.take(ctx, q)
	if err != nil {
		return nil, err
	}
	defer over()
	if !req.ForceDownload {
		if w := s.memory.recall(q, s.now()); w != nil {
			return w, nil
		}
	}
	switch {
	case req.ID != "":
		return s.chooseCached(cache, req.ID)
	case req.Preset == Hosted:
		return s.chooseHosted(ctx, req)
	case req.Preset == LTS && !req.ForceDownload:
		// The train is pinned, so what is in the cache is what the bucket would say.
		if have, err := s.candidates(cache, req); err != nil || len(have) > 0 {
			if err != nil {
				return nil, err
			}
			return have[0], nil
		}
	}
	return s.chooseListed(ctx, req)
}

func (s *Store) chooseHosted(ctx context.Context, req Request) (*wanted, error) {
	m, err := loadManifest(ctx, s.fetch, req.Manifest, &s.manifests)
	if err != nil {
		return nil, err
	}
	if m.Arch != s.opts.Arch {
		return nil, unfit(req, fmt.Errorf("%s is for %s, not %s", m.BundleID, m.Arch, s.opts.Arch))
	}
	if v := req.FirecrackerVersion; !v.IsZero() && v != m.FirecrackerVersion {
		return nil, unfit(req, fmt.Errorf("%s is for Firecracker %s, not %s", m.BundleID, m.FirecrackerVersion, v))
	}
	w := hosted(m, req.Manifest, s.date())
	if strings.HasPrefix(req.Manifest, "http://") || strings.HasPrefix(req.Manifest, "https://") {
		s.memory.remember(req.question(), w, s.now().Add(freshFor))
	}
	return w, nil
}

func unfit(req Request, err error) error {
	return &errcode.Error{Code: errcode.BaseImageResolveFailed, Op: opEnsure, Subject: fetch.Redact(req.Manifest), Err: err}
}

func (s *Store) chooseListed(ctx context.Context, req Request) (*wanted, error) {
	v, err := s.version(ctx, req)
	if err != nil {
		return nil, err
	}
	r, err := s.resolver.resolve(ctx, v, s.opts.Arch)
	if err != nil {
		return nil, err
	}
	for _, text := range r.Warnings {
		s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "base image is not what it could be", slog.String("reason", text))
	}
	w := listed(r, req.Preset, s.date())
	s.memory.remember(req.question(), w, s.now().Add(freshFor))
	return w, nil
}

// version returns the Firecracker release that a bundle of the bucket shall fit.
func (s *Store) version(ctx context.Context, req Request) (firecracker.Version, error) {
	switch {
	case !req.FirecrackerVersion.IsZero():
		return req.FirecrackerVersion, nil
	case s.opts.LatestVersion != nil:
		return s.opts.LatestVersion(ctx)
	case s.opts.Offline:
		return firecracker.Version{}, &errcode.Error{
			Code: errcode.VersionFetchFailed, Op: opEnsure, Subject: string(req.Preset),
			Err: errors.New("the newest release can't be asked for offline"),
		}
	default:
		return firecracker.Version{}, invalid(opEnsure, "firecrackerVersion", "it is required, since nothing was set up to ask for the newest release")
	}
}

// candidates returns the bundles of the cache that may stand in for what is asked
// for, the newest first.
func (s *Store) candidates(cache *os.Root, req Request) ([]*wanted, error) {
	records, err := records(cache)
	if err != nil {
		return nil, err
	}
	records = slices.DeleteFunc(records, func(r *record) bool {
		return r.Manifest.Arch != s.opts.Arch || !req.wants(r)
	})
	slices.SortFunc(records, func(a, b *record) int {
		return cmp.Or(
			b.Manifest.FirecrackerVersion.Compare(a.Manifest.FirecrackerVersion),
			b.Source.ResolvedAt.Compare(a.Source.ResolvedAt),
			cmp.Compare(b.Manifest.BundleID, a.Manifest.BundleID))
	})
	found := make([]*wanted, len(records))
	for i, r := range records {
		found[i] = r.again()
		if req.Preset != Hosted && !req.FirecrackerVersion.IsZero() {
			found[i].Manifest.FirecrackerVersion = req.FirecrackerVersion
		}
	}
	return found, nil
}

// records returns the descriptions of all bundles that have a readable one.
func records(cache *os.Root) ([]*record, error) {
	ids, err := bundleIDs(cache)
	if err != nil {
		return nil, err
	}
	var found []*record
	for _, id := range ids {
		dir, err := openBundle(cache, id)
		if err != nil {
			continue // gone meanwhile, or damaged: nothing that could be used
		}
		rec, err := readRecord(dir, id)
		_ = dir.Close()
		if err == nil {
			found = append(found, rec)
		}
	}
	return found, nil
}

// standIn uses a bundle of the cache where the source of what was asked for can't
// be reached; cause is why. A request for hosted is about one certain bundle, so
// there only the manifest can be missing.
func (s *Store) standIn(ctx context.Context, cache *os.Root, req Request, cause error) (*Bundle, error) {
	have, err := s.candidates(cache, req)
	if err != nil {
		return nil, errors.Join(cause, err)
	}
	for _, w := range have {
		b, err := s.provide(ctx, cache, w, req)
		if err != nil {
			cause = errors.Join(cause, fmt.Errorf("%s from the cache: %w", w.Manifest.BundleID, err))
			continue
		}
		if !s.opts.Offline {
			s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "base image source can't be reached, one from the cache is used",
				slog.String("preset", string(req.Preset)), slog.String("bundle", b.ID), slog.Any("error", cause))
		}
		s.memory.remember(req.question(), w, s.now().Add(standInFor))
		return b, nil
	}
	return nil, s.missing(cache, req, cause)
}

// missing says what was asked for and what there is instead.
func (s *Store) missing(cache *os.Root, req Request, cause error) error {
	what := string(req.Preset)
	switch {
	case req.Preset == Hosted:
		what += " " + fetch.Redact(req.Manifest)
	case !req.FirecrackerVersion.IsZero():
		what += " for Firecracker " + req.FirecrackerVersion.String()
	}
	e := &errcode.Error{
		Code: errcode.Of(cause, errcode.BaseImageResolveFailed), Op: opEnsure, Subject: what, Err: cause,
		Hint:    "check the location and the network (smartvm help environment has mirrors and proxies)",
		Details: []errcode.Detail{{Field: "wanted", Message: what + " on " + s.opts.Arch}},
	}
	if s.opts.Offline {
		e.Code, e.Hint = errcode.BaseImageResolveFailed, "fetch it once while online"
	}
	have, err := records(cache)
	if err != nil {
		e.Err = errors.Join(cause, err)
	}
	there := "nothing"
	for i, r := range have {
		if i == 0 {
			there = ""
		}
		m := &r.Manifest
		text := fmt.Sprintf("%s (%s, Firecracker %s, %s)", m.BundleID, r.Preset, m.FirecrackerVersion, m.Arch)
		e.Details = append(e.Details, errcode.Detail{Field: "cached", Message: text})
		there = strings.TrimPrefix(there+", "+text, ", ")
	}
	e.Hint = strings.TrimPrefix(e.Hint+"; the cache has "+there, "; ")
	return e
}
