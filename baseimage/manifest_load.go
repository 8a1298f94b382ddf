package baseimage

import (
	"context"
	"errors"
)

// documents reads small files by URL: a [fetch.Fetcher].
type documents interface {
	Bytes(ctx context.Context, url string, limit int64) ([]byte, error)
}

// loadManifest reads the manifest at a URL or path, of which it makes the
// locations of the artifacts absolute.
func loadManifest(ctx context.Context, from documents, location string) (*Manifest, error) {
	return nil, errors.ErrUnsupported
}
