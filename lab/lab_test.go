package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/lab/internal/box"
)

// call runs the program and returns its exit code and what it complains.
func call(t *testing.T, args ...string) (int, string) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	said, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	code := run(args, null, null, said)
	text, err := os.ReadFile(said.Name())
	if err != nil {
		t.Fatal(err)
	}
	return code, string(text)
}

func TestMistakesOnTheCommandLineAreToldBeforeAnythingIsBuilt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{nil, exitUsage, "usage: lab VERB"},
		{[]string{"dance"}, exitUsage, "usage: lab VERB"},
		{[]string{"run"}, exitUsage, "a command is missing"},
		{[]string{"run", "-v", "/tmp", "--", "true"}, exitUsage, "want HOST:GUEST"},
		{[]string{"run", "-e", "A", "--", "true"}, exitUsage, "want K=V"},
		{[]string{"run", "-h"}, 0, "-timeout"},
		{[]string{"shell"}, exitUsage, "no terminal"},
		{[]string{"test"}, exitUsage, "a package is missing"},
		{[]string{"test", "-race", "./x"}, exitUsage, "-race"},
		{[]string{"build", "x"}, exitUsage, "no arguments"},
	} {
		if code, said := call(t, tt.args...); code != tt.code || !strings.Contains(said, tt.says) {
			t.Errorf("%q: exit code %d, %q; want %d, %q", tt.args, code, said, tt.code, tt.says)
		}
	}
}

func TestShareIsReadOnlyUnlessItSaysSo(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]box.Share{
		dir + ":/a":         {Host: dir, Guest: "/a"},
		dir + ":/a/:ro":     {Host: dir, Guest: "/a"},
		dir + ":/a/../b:rw": {Host: dir, Guest: "/b", Writable: true},
	} {
		got, err := parseShare(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	for _, text := range []string{dir, dir + ":a", dir + ":/a:rx", dir + ":/a:rw:x", dir + "/nosuch:/a"} {
		if got, err := parseShare(text); err == nil {
			t.Errorf("%s: got %+v", text, got)
		}
	}
}

func TestFlagsOfGoTestReachTheTestPrograms(t *testing.T) {
	t.Parallel()
	p := &testRun{session: session{lab: new(lab)}}
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	p.register(flags)
	if err := flags.Parse([]string{"-v", "-run", "A|B", "-count=3", "-short", "-tags", "x", "-share", "/:/host", "./e2e"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"-test.v=true", "-test.run=A|B", "-test.count=3", "-test.short=true"}, p.flags); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"-tags=x"}, p.build); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"./e2e"}, flags.Args()); diff != "" {
		t.Error(diff)
	}
}
