package hosttest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// verdict is a test that notes how it ends; it does everything else for real.
type verdict struct {
	testing.TB

	cleanups []func()
	skipped  string
	failed   string
}

func (v *verdict) Cleanup(f func()) { v.cleanups = append(v.cleanups, f) }

func (v *verdict) Errorf(format string, args ...any) { v.failed += fmt.Sprintf(format, args...) }

func (v *verdict) Fatalf(format string, args ...any) {
	v.Errorf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Skip(args ...any) {
	v.skipped = fmt.Sprint(args...)
	runtime.Goexit()
}

// judge runs a test body to its end.
func judge(t *testing.T, body func(tb testing.TB)) *verdict {
	t.Helper()
	v := &verdict{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		body(v)
	}()
	<-done
	return v
}

var (
	met   = Requirement{"root", func() string { return "" }}
	unmet = Requirement{"kvm", func() string { return "no such device: load the module" }}
)

func TestNeedSkipsUnlessTheMachineMustMeetIt(t *testing.T) {
	tests := []struct {
		name, must    string
		needs         []Requirement
		skips, fails  bool
		textHasToHave string
	}{
		{"met", "", []Requirement{met}, false, false, ""},
		{"met and a must", "root", []Requirement{met}, false, false, ""},
		{"unmet", "", []Requirement{met, unmet}, true, false, "needs kvm: no such device: load the module"},
		{"unmet, another must", "root,tool:as", []Requirement{unmet}, true, false, "needs kvm"},
		{"unmet and a must", "root, kvm", []Requirement{unmet}, false, true, "needs kvm: no such device: load the module"},
		{"misspelt must", "rooot", []Requirement{met}, false, true, "no such need: rooot"},
		{"two unmet", "", []Requirement{unmet, Tool("no-such-command")}, true, false, "needs tool:no-such-command: there is no command"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(mustVar, tt.must)
			v := judge(t, func(tb testing.TB) {
				tb.Helper()
				Need(tb, tt.needs...)
			})
			if (v.skipped != "") != tt.skips || (v.failed != "") != tt.fails {
				t.Errorf("skipped %q, failed %q; want skip %t, failure %t", v.skipped, v.failed, tt.skips, tt.fails)
			}
			if text := v.skipped + v.failed; !strings.Contains(text, tt.textHasToHave) {
				t.Errorf("got %q, want %q in it", text, tt.textHasToHave)
			}
		})
	}
}

func TestIntegrationIsOnlyRunWhenAskedFor(t *testing.T) {
	for value, run := range map[string]bool{"": false, "0": false, "no": false, "1": true, "true": true, "YES": true} {
		t.Setenv(integrationVar, value)
		if got := Integration.lack() == ""; got != run {
			t.Errorf("%s=%q: run = %t, want %t", integrationVar, value, got, run)
		}
	}
}

func TestFirecrackerIsTheGivenOneThenThatInPathThenTheStoredOne(t *testing.T) {
	dir := t.TempDir()
	place := func(path string) string {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o700); err != nil { // executable is all that is asked
			t.Fatal(err)
		}
		return path
	}
	given, onPath, stored := place("given"), place("path/firecracker"), place("data/bin/"+release)
	for _, tt := range []struct{ given, path, want string }{
		{given, filepath.Dir(onPath), given},
		{"", filepath.Dir(onPath), onPath},
		{"", dir, stored},
	} {
		t.Setenv(binaryVar, tt.given)
		t.Setenv("PATH", tt.path)
		t.Setenv(dataDirVar, filepath.Join(dir, "data"))
		if got := Firecracker(t); got != tt.want {
			t.Errorf("given %q, PATH %q: got %q, want %q", tt.given, tt.path, got, tt.want)
		}
	}
	t.Setenv(binaryVar, dir)
	t.Setenv(mustVar, "")
	v := judge(t, func(tb testing.TB) {
		tb.Helper()
		Firecracker(tb)
	})
	if !strings.Contains(v.skipped, "can't be executed") {
		t.Errorf("a folder as Firecracker: skipped %q", v.skipped)
	}
}

func TestPathIsTheCommandInPath(t *testing.T) {
	want := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(want, nil, 0o700); err != nil { // executable is all that is asked
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(want))
	t.Setenv(mustVar, "")
	if got := Path(t, "tool"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	v := judge(t, func(tb testing.TB) {
		tb.Helper()
		Path(tb, "no-such-command")
	})
	if !strings.Contains(v.skipped, "no command no-such-command") {
		t.Errorf("skipped %q", v.skipped)
	}
}

// Without it, SMARTVM_TEST_MUST would promise nothing where no test needs the thing.
func TestThisMachineHasWhatItMustHave(t *testing.T) {
	for _, r := range named {
		t.Run(r.name, func(t *testing.T) { Need(t, r) })
	}
}
