package baseimage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
)

// lookAround finds out which trains there are, for the error.
func (s *search) lookAround(ctx context.Context) {
	top, err := s.bucket.list(ctx, ciPrefix)
	if err != nil {
		return // the failure that is reported anyway matters more
	}
	var trains [][]int
	for _, p := range top.prefixes {
		if m := trainPrefix.FindStringSubmatch(p); m != nil {
			trains = append(trains, numbers(m[1:]))
		}
	}
	slices.SortFunc(trains, slices.Compare)
	for _, t := range trains {
		s.trains = append(s.trains, fmt.Sprintf("v%d.%d", t[0], t[1]))
	}
}

// failed tells what was looked for, where, and what was there instead.
func (s *search) failed() error {
	e := s.unfinished(nil)
	e.Details = append(e.Details,
		errcode.Detail{Field: "wanted kernel", Message: kernelWords + " of series " + s.series()},
		errcode.Detail{Field: "wanted rootfs", Message: rootfsWords})
	e.Details = append(e.Details, s.candidates()...)
	if len(s.trains) > 0 {
		e.Details = append(e.Details, errcode.Detail{Field: "trains in the bucket", Message: strings.Join(s.trains, ", ")})
	}
	var where []string
	if !s.hasTrain() {
		where = append(where, fmt.Sprintf("%sYYYYMMDD-*/ (%d builds)", ciPrefix, len(s.builds)))
	}
	for _, l := range s.looked {
		where = append(where, fmt.Sprintf("%s (%d files)", l.prefix, l.files))
	}
	e.Err = fmt.Errorf("no %s of series %s together with %s in %s", kernelWords, s.series(), rootfsWords, strings.Join(where, ", "))
	e.Hint = "give another Firecracker version (--firecracker-version), or a hosted manifest with a kernel and root file system of your own"
	return e
}

// unfinished tells what kept the search from its end, and what it had seen by then.
func (s *search) unfinished(cause error) *errcode.Error {
	e := &errcode.Error{
		Code: errcode.BaseImageResolveFailed, Op: "resolve base image for firecracker", Subject: s.version.String() + " " + s.arch,
		Details: []errcode.Detail{{Field: "bucket", Message: fetch.Redact(s.base.String())}}, Err: cause,
	}
	for _, l := range s.looked {
		e.Details = append(e.Details, errcode.Detail{Field: l.prefix, Message: l.outcome()})
	}
	return e
}

func (s *search) series() string {
	var texts []string
	for _, each := range supported(s.version) {
		texts = append(texts, each.String())
	}
	if texts == nil {
		return "(none: this Firecracker is too old)"
	}
	return strings.Join(texts, " or ")
}

// outcome says what a prefix lacks.
func (l *look) outcome() string {
	files := fmt.Sprintf("%d files", l.files)
	switch {
	case l.kernel == nil && l.rootfs == nil:
		return files + ", no kernel and no root file system that fit"
	case l.kernel == nil:
		return files + ", no kernel that fits"
	case l.rootfs == nil:
		return files + ", no root file system that fits"
	default:
		return files
	}
}

// candidates returns the files that come nearest, and why they were not taken.
func (s *search) candidates() []errcode.Detail {
	var out []errcode.Detail
	for _, of := range []func(look) []refused{
		func(l look) []refused { return l.refused },
		func(l look) []refused { return l.others },
	} {
		for _, l := range s.looked {
			for _, r := range of(l) {
				if len(out) == maxCandidates {
					return out
				}
				out = append(out, errcode.Detail{Field: l.prefix + r.name, Message: r.reason})
			}
		}
	}
	return out
}
