package stage

import (
	"errors"
	"fmt"
	"strings"

	"github.com/smartvm/smartvm/errcode"
)

const (
	opStage     = "stage image"
	noSpaceHint = "free some room, put the data directory on a larger file system, or attach the image read-only or with `ephemeral: false`"
)

// failed reports a copy that went wrong; target is empty before one was chosen.
func failed(src, target string, cause error) error {
	e := &errcode.Error{Code: errcode.StageFailed, Op: opStage, Subject: src, Err: cause}
	if target != "" {
		e.Details = []errcode.Detail{{Field: "target", Message: target}}
	}
	switch {
	case errors.Is(cause, errNotAnImage):
		e.Hint = "name a disk image or a block device"
	case errors.Is(cause, errors.ErrUnsupported):
		e.Hint = "images are staged on Linux only"
	}
	return e
}

// noSpace reports every directory that was too small.
func noSpace(src string, full []shortage) error {
	return lack(&errcode.Error{Op: opStage, Subject: src, Hint: noSpaceHint}, full)
}

// lack completes e with why each directory was too small.
func lack(e *errcode.Error, full []shortage) error {
	e.Code = errcode.NoSpace
	causes := make([]string, len(full))
	for i, f := range full {
		what, field := "free", "free"
		if f.memory {
			what, field = "of available memory for a file system in memory", "available memory"
		}
		causes[i] = fmt.Sprintf("it needs %s, %s has %s %s", size(f.need), f.dir, size(f.free), what)
		e.Details = append(e.Details,
			errcode.Detail{Field: "target", Message: f.dir},
			errcode.Detail{Field: "need", Message: fmt.Sprintf("%d bytes", f.need)},
			errcode.Detail{Field: field, Message: fmt.Sprintf("%d bytes", f.free)})
	}
	e.Err = errors.New(strings.Join(causes, "; "))
	return e
}

// explain finds the code for an error in the middle of a copy to target.
func (p *Place) explain(target string, err error) error {
	if !isFull(err) {
		return failed(p.source.name, target, err)
	}
	details := []errcode.Detail{
		{Field: "target", Message: target},
		{Field: "need", Message: fmt.Sprintf("%d bytes", p.need)},
	}
	if has, roomErr := roomOf(p.Dir); roomErr == nil && has.free >= 0 {
		details = append(details, errcode.Detail{Field: "free", Message: fmt.Sprintf("%d bytes", has.free)})
	}
	return &errcode.Error{
		Code: errcode.NoSpace, Op: opStage, Subject: p.source.name, Hint: noSpaceHint, Details: details,
		Err: fmt.Errorf("%s filled up while %s were copied: %w", p.Dir.Name(), size(p.need), err),
	}
}

// size writes bytes for people.
func size(n int64) string {
	const kib, mib, gib = 1 << 10, 1 << 20, 1 << 30
	switch {
	case n >= gib:
		return fmt.Sprintf("%.1f GiB", float64(n)/gib)
	case n >= mib:
		return fmt.Sprintf("%.1f MiB", float64(n)/mib)
	default:
		return fmt.Sprintf("%.1f KiB", float64(n)/kib)
	}
}
