package baseimage

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/smartvm/smartvm/internal/fetch"
)

// wanted is a bundle that somebody asked for. Its manifest may lack hashes and
// sizes, and has its locations as they were given.
type wanted struct {
	record
	// etags are those of the listing, where there was one.
	etags map[part]string
	// cached says that this is a bundle of the cache, taken as it is.
	cached bool
}

// hosted is the bundle of a manifest.
func hosted(m *Manifest, location string, now time.Time) *wanted {
	return &wanted{record: record{
		Preset: Hosted, Manifest: *m, FitsFrom: m.FirecrackerVersion,
		Source: Source{Location: fetch.Redact(location), ResolvedAt: now},
	}}
}

// listed is a bundle of the CI bucket. The bucket publishes no hashes: that of the
// first download counts from then on.
func listed(r *resolved, preset Preset, now time.Time) *wanted {
	file := func(o object) ArtifactManifest {
		return ArtifactManifest{URL: o.URL, FileName: path.Base(o.Key), SizeBytes: o.Size}
	}
	readOnly := r.RootfsType == Squashfs
	return &wanted{
		record: record{
			Preset: preset, FitsFrom: r.FirecrackerVersion,
			Source: Source{Location: fetch.Redact(strings.TrimSuffix(r.Kernel.URL, path.Base(r.Kernel.Key))), ResolvedAt: now},
			Manifest: Manifest{
				SchemaVersion: schemaVersion, BundleID: listedID(r), Arch: r.Arch, FirecrackerVersion: r.FirecrackerVersion,
				Name:       fmt.Sprintf("Firecracker CI %s, %s", path.Base(r.Kernel.Key), path.Base(r.Rootfs.Key)),
				RootfsType: r.RootfsType, RootfsIsReadOnly: readOnly, BootArgs: DefaultBootArgs(r.RootfsType, readOnly),
				Kernel: file(r.Kernel), Rootfs: file(r.Rootfs),
			},
		},
		etags: map[part]string{partKernel: r.Kernel.ETag, partRootfs: r.Rootfs.ETag},
	}
}

// listedID names a bundle after all that distinguishes it in the bucket, such as
// "ci-v1.15-x86_64-vmlinux-6.1.155-ubuntu-24.04.squashfs". Several releases of
// Firecracker, and both presets, share a bundle if they share its files.
func listedID(r *resolved) string {
	train := strings.TrimPrefix(strings.TrimSuffix(strings.Trim(r.Prefix, "/"), "/"+r.Arch), "firecracker-ci/")
	id := strings.Join([]string{"ci", train, r.Arch, path.Base(r.Kernel.Key), path.Base(r.Rootfs.Key)}, "-")
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("._-", c):
			return c
		default:
			return '_'
		}
	}, id)
}

// again is a cached bundle that is wanted as it is.
func (r *record) again() *wanted { return &wanted{record: *r, cached: true} }

// fits reports whether the files of r are those that are wanted. From the bucket
// the names decide: what else the listing says may change when files are published
// again, and then those that were taken first are kept. Of a local file without a
// hash in its manifest the size is all there is to compare.
func (w *wanted) fits(r *record) bool {
	if w.Manifest.Arch != r.Manifest.Arch {
		return false
	}
	for _, p := range parts {
		want, have := w.Manifest.artifact(p), r.Manifest.artifact(p)
		switch {
		case want.FileName != have.FileName:
			return false
		case want.SHA256 != "" && want.SHA256 != have.SHA256:
			return false
		case want.SHA256 == "" && w.Preset == Hosted && want.SizeBytes != 0 && want.SizeBytes != have.SizeBytes:
			return false
		}
	}
	return true
}

// update returns r with what w says anew about the same files.
func (w *wanted) update(r *record) record {
	next := *r
	if w.cached {
		return next
	}
	if w.Preset != Hosted {
		// Several releases share the files.
		if w.FitsFrom.Compare(r.FitsFrom) < 0 {
			next.FitsFrom = w.FitsFrom
		}
		if w.Manifest.FirecrackerVersion.Compare(r.Manifest.FirecrackerVersion) > 0 {
			next.Manifest.FirecrackerVersion = w.Manifest.FirecrackerVersion
		}
		return next
	}
	next.Manifest = w.Manifest
	for _, p := range parts {
		a := next.Manifest.artifact(p)
		a.SHA256, a.SizeBytes = r.Manifest.artifact(p).SHA256, r.Manifest.artifact(p).SizeBytes
		// What is fetched again from such a record may need what is taken out, and then
		// the manifest has to be read first, which Ensure does whenever it can.
		a.URL = fetch.Redact(a.URL)
	}
	next.Preset, next.FitsFrom, next.Source.Location = w.Preset, w.FitsFrom, w.Source.Location
	if next.Manifest != r.Manifest || next.Source.Location != r.Source.Location {
		next.Source.ResolvedAt = w.Source.ResolvedAt
	}
	return next
}
