package baseimage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// resolved is the kernel and root file system for a Firecracker release.
type resolved struct {
	FirecrackerVersion firecracker.Version
	Arch               string
	Prefix             string // such as firecracker-ci/v1.15/x86_64/
	Kernel, Rootfs     object
	RootfsType         RootfsType
	Warnings           []string // for people
}

// resolver finds kernels and root file systems in the bucket of Firecracker's CI,
// or a copy of it. It is safe for concurrent use.
type resolver struct {
	bucket bucket
	base   *url.URL
}

// newResolver returns a resolver for the bucket at an http, https or file URL. The
// error is INVALID_CONFIG.
func newResolver(bucketURL string, from documents) (*resolver, error) {
	b, base, err := openBucket(bucketURL, from)
	if err != nil {
		return nil, err
	}
	return &resolver{bucket: b, base: base}, nil
}

// The bucket has a prefix per minor version up to v1.15, and since then one for
// each weekly build: firecracker-ci/20260729-c69d0c0490e6-0/. How Firecracker's own
// guide finds the newest of those: by name,
// https://github.com/firecracker-microvm/firecracker/blob/main/docs/getting-started.md
const ciPrefix = "firecracker-ci/"

var (
	lastTrain   = firecracker.Version{Major: 1, Minor: 15}
	datedPrefix = regexp.MustCompile(`^` + ciPrefix + `[0-9]{8}-[A-Za-z0-9._-]+/$`)
	trainPrefix = regexp.MustCompile(`^` + ciPrefix + `v([0-9]{1,4})\.([0-9]{1,4})/$`)
)

const (
	maxBuilds     = 8 // the newest weekly builds, of which one or two may be incomplete
	maxCandidates = 8 // refused files that an error names
)

func trainOf(v firecracker.Version) string {
	return fmt.Sprintf("%sv%d.%d/", ciPrefix, v.Major, v.Minor)
}

// resolve finds the newest kernel and root file system that fit Firecracker v on
// arch. The code of a failure is BASE_IMAGE_RESOLVE_FAILED, with that of the
// download inside if the bucket could not be read; CANCELLED when ctx has ended.
func (r *resolver) resolve(ctx context.Context, v firecracker.Version, arch string) (*resolved, error) {
	if !slices.Contains(arches, arch) || v.IsZero() {
		return nil, &errcode.Error{
			Code: errcode.InvalidConfig, Op: "resolve base image", Subject: v.String() + " " + arch,
			Err: errors.New("want a Firecracker version, and the architecture " + strings.Join(arches, " or ")),
		}
	}
	s := search{bucket: r.bucket, base: r.base, version: v, arch: arch}
	found, err := s.run(ctx)
	switch {
	case errors.Is(err, errcode.Cancelled):
		return nil, err
	case err != nil:
		return nil, s.unfinished(err)
	case found == nil:
		s.lookAround(ctx)
		return nil, s.failed()
	}
	return found, nil
}

// search is one run of the resolver, and what it has seen on the way.
type search struct {
	bucket  bucket
	base    *url.URL // of the bucket
	version firecracker.Version
	arch    string
	builds  []string // prefixes of weekly builds, newest first
	looked  []look
	trains  []string // that the bucket has
}

// look is what was seen in one prefix.
type look struct {
	prefix string
	files  int
	choice
}

// run returns nil when nothing fits.
func (s *search) run(ctx context.Context) (*resolved, error) {
	if s.hasTrain() {
		return s.look(ctx, trainOf(s.version))
	}
	top, err := s.bucket.list(ctx, ciPrefix)
	if err != nil {
		return nil, err
	}
	s.builds = newestBuilds(top.prefixes)
	for i, build := range s.builds {
		found, err := s.look(ctx, build)
		if found != nil && i > 0 {
			found.warn("the newest CI build, %s, has no kernel and root file system for %s that fit: took those of %s", s.builds[0], s.arch, build)
		}
		if found != nil || err != nil {
			return found, err
		}
	}
	found, err := s.look(ctx, trainOf(lastTrain))
	if found != nil {
		found.warn("the bucket has no CI build for Firecracker %v: took the kernel and root file system of %s", s.version, trainOf(lastTrain))
	}
	return found, err
}

// hasTrain reports whether the version is from the time of a prefix per train.
func (s *search) hasTrain() bool {
	return s.version.Compare(firecracker.Version{Major: lastTrain.Major, Minor: lastTrain.Minor + 1}) < 0
}

func (r *resolved) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

// newestBuilds returns the prefixes of the weekly builds, newest first.
func newestBuilds(prefixes []string) []string {
	var builds []string
	for _, p := range prefixes {
		if datedPrefix.MatchString(p) {
			builds = append(builds, p)
		}
	}
	slices.Sort(builds)
	slices.Reverse(builds)
	builds = slices.Compact(builds)
	return builds[:min(len(builds), maxBuilds)]
}

// look returns the best of one prefix, nil if it lacks one of the two.
func (s *search) look(ctx context.Context, parent string) (*resolved, error) {
	prefix := parent + s.arch + "/"
	l, err := s.bucket.list(ctx, prefix)
	if err != nil {
		return nil, err
	}
	c := choose(l.objects, s.version)
	s.looked = append(s.looked, look{prefix, len(l.objects), c})
	if c.kernel == nil || c.rootfs == nil {
		return nil, nil //nolint:nilnil // nothing here is no failure yet
	}
	return &resolved{
		FirecrackerVersion: s.version, Arch: s.arch, Prefix: prefix,
		Kernel: s.at(c.kernel), Rootfs: s.at(c.rootfs), RootfsType: c.rootfsType,
	}, nil
}

// at returns the object with its URL.
func (s *search) at(o *object) object {
	located := *o
	located.URL = s.base.JoinPath(o.Key).String()
	return located
}
