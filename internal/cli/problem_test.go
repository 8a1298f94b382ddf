package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
)

func TestProblemSeparatesTheCauseFromDetailsAndHint(t *testing.T) {
	t.Parallel()
	inner := &errcode.Error{Code: errcode.InsecurePath, Op: "open", Subject: "/d", Err: errors.New("not yours"), Hint: "chown it"}
	two := []errcode.Detail{{Field: "a", Message: "is bad"}, {Field: "b", Message: "is worse"}}
	one := two[:1]
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"hint of a cause": {
			&errcode.Error{Code: errcode.StartFailed, Op: "start vm", Subject: "x", Err: inner},
			"error: start vm x: open /d: not yours\nhint: chown it",
		},
		"cause wrapped by fmt": {
			fmt.Errorf("drive x: %w", inner), "error: drive x: open /d: not yours\nhint: chown it",
		},
		"outer hint first": {
			&errcode.Error{Op: "clean up", Subject: "x", Err: inner, Hint: "gc"}, "error: clean up x: open /d: not yours\nhint: gc",
		},
		"one mistake in the line": {
			&errcode.Error{Op: "validate", Details: one}, "error: validate: a: is bad",
		},
		"several mistakes below": {
			&errcode.Error{Op: "validate", Details: two}, "error: validate: 2 mistakes\n  a: is bad\n  b: is worse",
		},
		"a cause of several lines": {
			&errcode.Error{Op: "x", Err: errors.Join(errors.New("one\ntwo"), inner)}, "error: x: one; two; open /d: not yours\nhint: chown it",
		},
		"two failures": {
			errors.Join(inner, errors.New("other")), "error: open /d: not yours\nhint: chown it\nerror: other",
		},
		"a reader that is gone next to a failure": {errors.Join(errReaderGone, errors.New("other")), "error: other"},
		"a reader that is gone":                   {errors.Join(errReaderGone), ""},
	} {
		var texts []string
		for _, p := range problemsOf(c.err) {
			texts = append(texts, p.String())
		}
		if diff := cmp.Diff(c.want, strings.Join(texts, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEveryCodeHasAHint(t *testing.T) {
	t.Parallel()
	errs := []error{errors.New("plain"), fs.ErrNotExist}
	for _, code := range errcode.Codes() {
		errs = append(errs, &errcode.Error{Code: code})
	}
	for _, err := range errs {
		if usualHint(err, "smartvm run") == "" {
			t.Errorf("%v has none", err)
		}
	}
}
