package baseimage

import (
	"context"
	"regexp"

	"github.com/smartvm/smartvm/firecracker"
)

// What the JSON Schema has to say too.
const (
	MaxName     = maxName
	MaxURL      = maxURL
	MaxPath     = maxPath
	MaxSize     = maxSize
	MaxBootArgs = maxBootArgs
)

// Patterns are the patterns of the JSON Schema by field.
var Patterns = map[string]*regexp.Regexp{
	"bundleId": bundleIDPattern, "name": textPattern, "bootArgs": bootArgsPattern,
	"artifact.url": urlPattern, "artifact.path": textPattern, "artifact.fileName": fileNamePattern,
}

// Names that the JSON Schema has to list.
var (
	Arches        = arches
	RootfsTypes   = rootfsTypes
	ReservedNames = reservedNames
)

// LoadManifest is what the cache reads manifests with.
func LoadManifest(ctx context.Context, from Documents, location string) (*Manifest, error) {
	return loadManifest(ctx, from, location, new(readings[Manifest]))
}

// Resolved and Object are what the resolver returns.
type (
	Resolved = resolved
	Object   = object
)

// Documents is where the resolver and manifests get their bytes from.
type Documents = documents

// Resolve looks into the bucket at url.
func Resolve(ctx context.Context, url string, from Documents, v firecracker.Version, arch string) (*Resolved, error) {
	r, err := newResolver(url, from)
	if err != nil {
		return nil, err
	}
	return r.resolve(ctx, v, arch)
}

// ReadPage reads a page of a listing.
var ReadPage = readPage

// Choose picks from keys, all of them of size.
func Choose(keys []string, size int64, v firecracker.Version) (kernel, rootfs string) {
	objects := make([]object, len(keys))
	for i, key := range keys {
		objects[i] = object{Key: key, Size: size}
	}
	c := choose(objects, v)
	if c.kernel != nil {
		kernel = c.kernel.name()
	}
	if c.rootfs != nil {
		rootfs = c.rootfs.name()
	}
	return kernel, rootfs
}
