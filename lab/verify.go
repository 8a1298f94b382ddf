package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm/lab/internal/box"
	"github.com/smartvm/smartvm/lab/internal/claim"
)

// suite is the package whose tests state claims, and document what they make.
const (
	suite    = "./lab/e2e"
	document = "docs/verified.md"
)

// claimsPath is where the reports are written in the machine.
const claimsPath = "/claims"

// verify runs the whole suite and writes down what it has proven. What has not been
// proven in this very run is not written.
func (l *lab) verify(ctx context.Context, args []string) (code int, err error) {
	t := &testRun{session: session{lab: l}}
	flags := l.flags("verify")
	t.register(flags)
	if err := parse(flags, args); err != nil {
		return 0, err
	}
	if flags.NArg() > 0 {
		return 0, usageError{errors.New("it takes no packages")}
	}
	root, err := moduleRoot()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "smartvm-lab-claims-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	where, inside := "the lab: an emulated machine, QEMU without KVM", claimsPath
	if t.direct {
		where, inside = "a host with KVM", dir
	}
	t.shares = append(t.shares, box.Share{Host: dir, Guest: claimsPath, Writable: true})
	t.env = append(t.env, claim.DirVar+"="+inside)
	// The document is what is to be made: that it is behind is no failure.
	t.flags = append(t.flags, "-test.skip=^TestDocumentSaysWhatTheTestsClaim$")
	if code, err := t.packages(ctx, []string{suite}); err != nil || code != 0 {
		return code, err
	}
	report, err := claim.Read(dir)
	if err != nil {
		return 0, err
	}
	if failed := report.Failed(); len(failed) > 0 {
		return 0, fmt.Errorf("%d claims are not proven, the first is %q of %s", len(failed), failed[0].Text, failed[0].Test)
	}
	path := filepath.Join(root, document)
	l.say("%d claims are proven: %s\n", len(report.Claims), document)
	return 0, os.WriteFile(path, []byte(report.Document(where)), 0o644) //nolint:gosec // a file of the sources
}
