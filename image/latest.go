package image

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/fetch"
)

const opLatest = "look up the newest firecracker"

// LatestVersion returns the newest Firecracker release: the one to which the page
// <ReleaseURL>/latest redirects, for which no API token is needed. That is what
// Firecracker's maintainers have marked as the latest, which for some time after
// a fix was ported back to an older train can be of that train; it is not always
// the highest number. A tree of files has no such mark: there it is the highest
// version below <ReleaseURL>/download.
//
// The error is VERSION_FETCH_FAILED, with StatusCode when a server answered.
func (s *Store) LatestVersion(ctx context.Context) (firecracker.Version, error) {
	v, err := s.latest(ctx)
	if err == nil {
		return v, nil
	}
	e := &errcode.Error{
		Code: errcode.VersionFetchFailed, Op: opLatest, Err: err,
		Hint: "demand a version (--firecracker-version), or name a mirror of the releases",
	}
	if inner, ok := errors.AsType[*errcode.Error](err); ok {
		e.StatusCode = inner.StatusCode
		if inner.Code == errcode.Cancelled {
			e.Code, e.Hint = errcode.Cancelled, ""
		}
	}
	return firecracker.Version{}, e
}

func (s *Store) latest(ctx context.Context) (firecracker.Version, error) {
	if u, err := url.Parse(s.releases); err == nil && u.Scheme == "file" {
		return highest(path.Join(u.Path, "download"))
	}
	target, err := s.fetcher.Location(ctx, s.releases+"/latest")
	if err != nil {
		return firecracker.Version{}, err
	}
	return parseTag(target)
}

// highest returns the highest version that a folder of a tree is named after.
func highest(dir string) (firecracker.Version, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return firecracker.Version{}, err
	}
	var best firecracker.Version
	for _, e := range entries {
		if v, ok := exactVersion(e.Name()); ok && v.Compare(best) > 0 {
			best = v
		}
	}
	if best.IsZero() {
		return best, fmt.Errorf("%s has no folder with the name of a release such as v1.12.1", dir)
	}
	return best, nil
}

// parseTag reads the version out of the URL of a release's page,
// https://.../releases/tag/v1.12.1. No other page will do: without a release, or
// behind a login, the redirect leads elsewhere.
func parseTag(target string) (firecracker.Version, error) {
	u, err := url.Parse(target)
	if err != nil {
		return firecracker.Version{}, errors.New("it leads to a URL that can't be read")
	}
	before, tag := path.Split(u.Path)
	v, ok := exactVersion(tag)
	if !ok || !strings.HasSuffix(before, "/tag/") {
		return firecracker.Version{}, fmt.Errorf("it leads to %q, which is not the page of a release", fetch.Redact(target))
	}
	return v, nil
}

// exactVersion reads the one way to write the version of a release: no suffix,
// nothing left out, no leading zeros.
func exactVersion(text string) (firecracker.Version, bool) {
	v, err := firecracker.ParseVersion(text)
	return v, err == nil && v.String() == text && !v.IsZero()
}
