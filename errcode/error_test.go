package errcode_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
)

// The golden file makes removing or renaming a code a visible, deliberate act.
func TestCodesAreStable(t *testing.T) {
	var b strings.Builder
	for _, c := range errcode.Codes() {
		fmt.Fprintln(&b, c)
	}
	golden := filepath.Join("testdata", "codes.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("codes changed; got\n%s\nwant\n%s", got, want)
	}
}

func TestErrorTextIsOpSubjectCauseHint(t *testing.T) {
	cause := errors.New("no such file")
	tests := []struct {
		err  *errcode.Error
		want string
	}{
		{&errcode.Error{Code: errcode.BinaryNotFound, Op: "find firecracker"}, "find firecracker: binary not found"},
		{&errcode.Error{Op: "stage drive", Subject: "rootfs", Err: cause, Hint: "check the path"}, "stage drive rootfs: no such file (check the path)"},
		{&errcode.Error{Op: "validate", Details: []errcode.Detail{{Field: "a", Message: "bad"}, {Message: "worse"}}}, "validate: a: bad; worse"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestErrorMatchesItsCodeAndItsCause(t *testing.T) {
	inner := &errcode.Error{Code: errcode.NoSpace, Op: "stage", Err: os.ErrInvalid}
	outer := fmt.Errorf("start: %w", &errcode.Error{Code: errcode.StartFailed, Op: "start", Err: inner})
	for _, target := range []error{errcode.StartFailed, errcode.NoSpace, os.ErrInvalid} {
		if !errors.Is(outer, target) {
			t.Errorf("%v does not match %v", outer, target)
		}
	}
	if errors.Is(outer, errcode.InvalidState) {
		t.Error("matches a code that it does not have")
	}
	if got := errcode.Of(outer, errcode.InvalidState); got != errcode.StartFailed {
		t.Errorf("Of = %s, want the outermost code", got)
	}
	if got := errcode.Of(os.ErrInvalid, errcode.InvalidState); got != errcode.InvalidState {
		t.Errorf("Of without a code = %s, want the fallback", got)
	}
}
