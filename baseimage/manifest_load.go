package baseimage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/strict"
)

// documents reads small files by URL: a [fetch.Fetcher].
type documents interface {
	Bytes(ctx context.Context, url string, limit int64) ([]byte, error)
}

// loadManifest reads the manifest at a URL or path, and makes the locations in it
// absolute. The code of a failure is BASE_IMAGE_MANIFEST_FAILED when it can't be
// had, with that of the download inside; CANCELLED when ctx has ended; and
// INVALID_BASE_IMAGE_MANIFEST when it breaks its rules.
func loadManifest(ctx context.Context, from documents, location string, known *readings[Manifest]) (*Manifest, error) {
	base, err := locate(location)
	if err != nil {
		return nil, err
	}
	data, err := from.Bytes(ctx, base.String(), strict.MaxSize)
	switch {
	case errors.Is(err, errcode.Cancelled):
		return nil, err
	case err != nil:
		return nil, &errcode.Error{Code: errcode.BaseImageManifestFailed, Op: "load base image manifest", Subject: fetch.Redact(location), Err: err}
	}
	m, err := known.of(location, data, func() (*Manifest, error) {
		m, err := ParseManifest(data)
		if err != nil {
			return nil, err
		}
		return m.Resolve(location)
	})
	if e, ok := errors.AsType[*errcode.Error](err); ok {
		e.Subject = fetch.Redact(location)
	}
	return m, err
}

// Resolve returns the manifest with the locations in it made absolute: those of a
// manifest that was found at location, a URL or the path of a file. A redirect on
// the way to it does not count.
//
// A manifest from the web must not name local files, as a path or as a file URL:
// its author could read them through whoever boots it. The error is then
// INVALID_BASE_IMAGE_MANIFEST, and BASE_IMAGE_MANIFEST_FAILED when location is
// nothing that a manifest could be at.
func (m *Manifest) Resolve(location string) (*Manifest, error) {
	base, err := locate(location)
	if err != nil {
		return nil, err
	}
	var f strict.Faults
	out := *m
	for _, p := range out.parts() {
		out.artifact(p).resolve(&f, string(p), base)
	}
	if err := f.Err(errcode.InvalidBaseImageManifest, "resolve base image manifest"); err != nil {
		return nil, err
	}
	return &out, nil
}

func (a *ArtifactManifest) resolve(f *strict.Faults, field string, base *url.URL) {
	local := base.Scheme == "file"
	switch {
	case a.Path != "" && !local:
		f.Add(field+".path", "a manifest from the web can't name a local file")
	case a.Path != "" && !filepath.IsAbs(a.Path):
		a.Path = filepath.Join(filepath.Dir(base.Path), a.Path)
	}
	if a.URL == "" {
		return
	}
	u, err := base.Parse(a.URL)
	switch {
	case err != nil:
		f.Add(field+".url", "is not a URL")
	case u.Scheme == "file" && !local:
		f.Add(field+".url", "a manifest from the web can't name a local file")
	default:
		a.URL = u.String()
	}
}

// locate returns the absolute URL of a location, which is one or is a path.
func locate(location string) (*url.URL, error) {
	fail := func(err error) error {
		return &errcode.Error{
			Code: errcode.BaseImageManifestFailed, Op: "locate base image manifest", Err: err,
			Hint: "give an http, https or file URL, or the path of a file",
		}
	}
	if !strings.Contains(location, "://") {
		path, err := filepath.Abs(location)
		if err != nil || location == "" {
			return nil, fail(fmt.Errorf("%s is not a path", strict.Quote(location)))
		}
		return &url.URL{Scheme: "file", Path: path}, nil
	}
	u, err := url.Parse(location)
	switch {
	case err != nil:
		return nil, fail(errors.New("it is not a URL")) // the error of url.Parse has all of it, secrets too
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path), (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "":
		return u, nil
	}
	return nil, fail(fmt.Errorf("%s is not an http, https or file URL", strict.Quote(fetch.Redact(location))))
}
