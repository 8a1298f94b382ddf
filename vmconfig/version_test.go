package vmconfig_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

func TestCheckVersionNamesEveryFieldThatIsTooNew(t *testing.T) {
	t.Parallel()
	c := parse(t, string(read(t, "everything.json")))
	var b strings.Builder
	for _, v := range []firecracker.Version{{Major: 1}, {Major: 1, Minor: 12, Patch: 1}, {Major: 1, Minor: 16}, {Major: 1, Minor: 17}} {
		b.WriteString(v.String() + "\n")
		err := c.CheckVersion(v)
		if err == nil {
			continue
		}
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != errcode.UnsupportedVersion || !strings.Contains(e.Hint, v.String()) {
			t.Fatalf("got %v, want an UNSUPPORTED_VERSION error with the version", err)
		}
		for _, d := range e.Details {
			b.WriteString("  " + d.String() + "\n")
		}
	}
	golden(t, "check-version.txt", b.String())
}

func TestCheckVersionLetsAnUnknownVersionPass(t *testing.T) {
	t.Parallel()
	if err := parse(t, string(read(t, "everything.json"))).CheckVersion(firecracker.Version{}); err != nil {
		t.Error(err)
	}
}

func TestCheckVersionLetsAMinimalConfigPass(t *testing.T) {
	t.Parallel()
	if err := (&vmconfig.Config{}).CheckVersion(firecracker.Version{Major: 1}); err != nil {
		t.Error(err)
	}
}
