package ledger_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/ledger"
)

// file is a resource: a file that is given back by removing it.
type file struct {
	Path  string `json:"path"`
	Known string `json:"known,omitempty"`
	fail  error
}

func (f *file) Kind() string   { return "file" }
func (f *file) String() string { return "file " + filepath.Base(f.Path) }

func (f *file) Release(context.Context) error {
	if f.fail != nil {
		return f.fail
	}
	if err := os.Remove(f.Path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (f *file) make() error { return os.WriteFile(f.Path, nil, 0o600) }

func kinds() ledger.Kinds {
	return ledger.Kinds{"file": func() ledger.Resource { return &file{} }}
}

func create(t *testing.T, runtime, name string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Create(runtime, name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t *testing.T, l *ledger.Ledger, path string) *file {
	t.Helper()
	f := &file{Path: path}
	if err := l.Make(f, f.make); err != nil {
		t.Fatal(err)
	}
	return f
}

func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left in %s", e.Name(), dir)
	}
}

func TestReleaseAndDestroyLeaveNothing(t *testing.T) {
	t.Parallel()
	runtime, other := t.TempDir(), t.TempDir()
	l := create(t, runtime, "vm")
	put(t, l, filepath.Join(other, "a"))
	put(t, l, filepath.Join(other, "b"))
	if err := errors.Join(l.Release(t.Context()), l.Release(t.Context()), l.Destroy()); err != nil {
		t.Fatal(err)
	}
	empty(t, runtime)
	empty(t, other)
}

func TestNextOwnerReleasesWhatTheLastOneMade(t *testing.T) {
	t.Parallel()
	runtime, other := t.TempDir(), t.TempDir()
	l := create(t, runtime, "vm")
	put(t, l, filepath.Join(other, "made"))
	gone := put(t, l, filepath.Join(other, "gone"))
	if err := gone.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Mark("started"), l.Close()); err != nil {
		t.Fatal(err)
	}
	next, err := ledger.Open(runtime, "vm", kinds())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := next.View().Marks["started"]; !ok || len(next.View().Resources) != 2 {
		t.Errorf("view %+v, want the mark and both resources", next.View())
	}
	if err := errors.Join(next.Release(t.Context()), next.Destroy()); err != nil {
		t.Fatal(err)
	}
	empty(t, runtime)
	empty(t, other)
}

func TestOwnerIsAliveAsLongAsItHoldsTheLock(t *testing.T) {
	t.Parallel()
	runtime := t.TempDir()
	l := create(t, runtime, "vm")
	if _, err := ledger.Open(runtime, "vm", kinds()); !errors.Is(err, errcode.VMOwned) {
		t.Errorf("open = %v, want VM_OWNED", err)
	}
	if v, err := ledger.Read(runtime, "vm", kinds()); err != nil || !v.Owned || v.Owner.PID != os.Getpid() {
		t.Errorf("view %+v, %v, want that this process owns it", v, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if v, err := ledger.Read(runtime, "vm", kinds()); err != nil || v.Owned || !v.SameBoot() {
		t.Errorf("view %+v, %v, want no owner, this boot", v, err)
	}
}

func TestOnlyOneOfManyGetsAName(t *testing.T) {
	t.Parallel()
	runtime := t.TempDir()
	var wg sync.WaitGroup
	won := make(chan *ledger.Ledger, 20)
	for range 20 {
		wg.Go(func() {
			l, err := ledger.Create(runtime, "vm")
			switch {
			case err == nil:
				won <- l
			case !errors.Is(err, fs.ErrExist):
				t.Errorf("create = %v, want that the name is taken", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d got the name", len(won))
	}
	if err := (<-won).Destroy(); err != nil {
		t.Fatal(err)
	}
	empty(t, runtime)
}

func TestReleaseGoesOnPastErrorsAndKeepsWhatIsLeft(t *testing.T) {
	t.Parallel()
	runtime, other := t.TempDir(), t.TempDir()
	l := create(t, runtime, "vm")
	put(t, l, filepath.Join(other, "first"))
	stuck := put(t, l, filepath.Join(other, "stuck"))
	put(t, l, filepath.Join(other, "last"))
	stuck.fail = errors.New("busy")
	err := l.Release(t.Context())
	if err == nil || !strings.Contains(err.Error(), "release file stuck: busy") {
		t.Errorf("release = %v, want the failure", err)
	}
	if err := l.Destroy(); !errors.Is(err, errcode.LedgerFailed) {
		t.Errorf("destroy = %v, want a refusal", err)
	}
	if left := l.View().Resources; len(left) != 1 || left[0] != ledger.Resource(stuck) {
		t.Errorf("left on record: %v", left)
	}
	stuck.fail = nil
	if err := errors.Join(l.Release(t.Context()), l.Destroy()); err != nil {
		t.Fatal(err)
	}
	empty(t, other)
}

// tenant is a file that uses the others.
type tenant struct{ file }

func (t *tenant) Uses() {}

func TestWhatIsInUseIsNotReleased(t *testing.T) {
	t.Parallel()
	runtime, other := t.TempDir(), t.TempDir()
	l := create(t, runtime, "vm")
	put(t, l, filepath.Join(other, "address"))
	process := &tenant{file{Path: filepath.Join(other, "process"), fail: errors.New("it does not end")}}
	if err := l.Make(process, process.make); err != nil {
		t.Fatal(err)
	}
	put(t, l, filepath.Join(other, "newer"))
	if err := l.Release(t.Context()); !errors.Is(err, process.fail) {
		t.Errorf("got %v", err)
	}
	for name, there := range map[string]bool{"address": true, "process": true, "newer": true} {
		if _, err := os.Lstat(filepath.Join(other, name)); (err == nil) != there {
			t.Errorf("%s: %v, want that it is there: %t", name, err, there)
		}
	}
	process.fail = nil
	if err := errors.Join(l.Release(t.Context()), l.Destroy()); err != nil {
		t.Fatal(err)
	}
	empty(t, other)
}

func TestOneResourceIsReleasedAndTheOthersStay(t *testing.T) {
	t.Parallel()
	runtime, other := t.TempDir(), t.TempDir()
	l := create(t, runtime, "vm")
	first, second := put(t, l, filepath.Join(other, "first")), put(t, l, filepath.Join(other, "second"))
	first.fail = errors.New("busy")
	if err := l.ReleaseOne(t.Context(), first); err == nil || len(l.View().Resources) != 2 {
		t.Errorf("release = %v, on record %v; want the failure and both", err, l.View().Resources)
	}
	first.fail = nil
	for range 2 { // once it is gone there is nothing to do
		if err := l.ReleaseOne(t.Context(), first); err != nil {
			t.Error(err)
		}
	}
	v, err := ledger.Read(runtime, "vm", kinds())
	if err != nil || len(v.Resources) != 1 || v.Resources[0].String() != second.String() {
		t.Errorf("on record: %+v, %v", v, err)
	}
	if _, err := os.Lstat(first.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file: %v", err)
	}
	if err := errors.Join(l.Release(t.Context()), l.Destroy()); err != nil {
		t.Fatal(err)
	}
	empty(t, runtime)
	empty(t, other)
}

func TestEffectThatFailsStaysOnRecord(t *testing.T) {
	t.Parallel()
	other := t.TempDir()
	l := create(t, t.TempDir(), "vm")
	f := &file{Path: filepath.Join(other, "half")}
	boom := errors.New("boom")
	if err := l.Make(f, func() error { return errors.Join(f.make(), boom) }); !errors.Is(err, boom) {
		t.Errorf("make = %v, want the effect's error", err)
	}
	if err := errors.Join(l.Release(t.Context()), l.Destroy()); err != nil {
		t.Fatal(err)
	}
	empty(t, other)
}

func TestWhatOnlyTheEffectKnowsIsRecorded(t *testing.T) {
	t.Parallel()
	runtime := t.TempDir()
	l := create(t, runtime, "vm")
	f := &file{Path: filepath.Join(t.TempDir(), "f")}
	if err := l.Make(f, func() error { f.Known = "pid 7"; return nil }); err != nil {
		t.Fatal(err)
	}
	v, err := ledger.Read(runtime, "vm", kinds())
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Resources[0].(*file).Known; got != "pid 7" {
		t.Errorf("recorded %q", got)
	}
	if err := errors.Join(l.Release(t.Context()), l.Destroy()); err != nil {
		t.Fatal(err)
	}
}

func TestTornLastLineIsIgnoredAndOverwritten(t *testing.T) {
	t.Parallel()
	runtime, other := t.TempDir(), t.TempDir()
	l := create(t, runtime, "vm")
	put(t, l, filepath.Join(other, "a"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(runtime, "vm", "ledger")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := `{"op":"make","n":2,"kind":"file","what":{"path":"/x"}}`
	for cut := range len(torn) {
		if err := os.WriteFile(path, append(slices.Clone(whole), torn[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Open(runtime, "vm", kinds())
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if got := len(l.View().Resources); got != 1 {
			t.Fatalf("cut at %d: %d resources, want 1", cut, got)
		}
		if err := errors.Join(l.Mark("after"), l.Close()); err != nil {
			t.Fatal(err)
		}
		if v, err := ledger.Read(runtime, "vm", kinds()); err != nil || v.Marks["after"].IsZero() {
			t.Fatalf("cut at %d: what follows can't be read: %v", cut, err)
		}
	}
}

func TestUnknownKindIsNeverForgotten(t *testing.T) {
	t.Parallel()
	runtime := t.TempDir()
	l := create(t, runtime, "vm")
	put(t, l, filepath.Join(t.TempDir(), "a"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(runtime, "vm", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Release(t.Context()); err == nil || len(l.View().Resources) != 1 {
		t.Errorf("release = %v with %d on record, want a refusal", err, len(l.View().Resources))
	}
}

func TestDamagedLedgerIsAnErrorAndStaysUntouched(t *testing.T) {
	t.Parallel()
	runtime := t.TempDir()
	l := create(t, runtime, "vm")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(runtime, "vm", "ledger")
	for _, line := range []string{"garbage\n", `{"op":"sing"}` + "\n", `{"op":"made","n":9}` + "\n"} {
		if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Open(runtime, "vm", kinds()); !errors.Is(err, errcode.LedgerFailed) {
			t.Errorf("%q: open = %v, want LEDGER_FAILED", line, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != line {
			t.Errorf("%q became %q (%v)", line, got, err)
		}
	}
}

func TestLedgerThatIsALinkIsRefused(t *testing.T) {
	t.Parallel()
	runtime := t.TempDir()
	target := filepath.Join(t.TempDir(), "victim")
	if err := errors.Join(os.WriteFile(target, nil, 0o600), os.Mkdir(filepath.Join(runtime, "vm"), 0o700),
		os.Symlink(target, filepath.Join(runtime, "vm", "ledger"))); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Open(runtime, "vm", kinds()); !errors.Is(err, errcode.LedgerFailed) {
		t.Errorf("open = %v, want LEDGER_FAILED", err)
	}
	if got, err := os.ReadFile(target); err != nil || len(got) != 0 {
		t.Errorf("wrote %q through the link (%v)", got, err)
	}
}

func TestSweepRemovesLeftoversAndNothingElse(t *testing.T) {
	t.Parallel()
	runtime := t.TempDir()
	l := create(t, runtime, "vm")
	for _, name := range []string{".new-1", ".gone-vm-1"} {
		if err := errors.Join(os.Mkdir(filepath.Join(runtime, name), 0o700),
			os.WriteFile(filepath.Join(runtime, name, "ledger"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{".new-2", ".gone-vm-2", ".gone-vm-2/drives"} { // without a ledger
		if err := os.Mkdir(filepath.Join(runtime, path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if swept, err := ledger.Sweep(runtime); err != nil || len(swept) != 4 {
		t.Errorf("swept %v, %v", swept, err)
	}
	names, err := ledger.Names(runtime)
	if err != nil || !slices.Equal(names, []string{"vm"}) {
		t.Errorf("names %v, %v", names, err)
	}
	if err := l.Destroy(); err != nil {
		t.Fatal(err)
	}
	empty(t, runtime)
}

func TestWhatIsBeingMadeSurvivesASweep(t *testing.T) {
	t.Parallel()
	runtime := t.TempDir()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				close(stopped)
				return
			default:
				if _, err := ledger.Sweep(runtime); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for i := range 300 { // the two meet in some of them
		l := create(t, runtime, strconv.Itoa(i))
		if view, err := ledger.Read(runtime, strconv.Itoa(i), kinds()); err != nil || !view.Owned {
			t.Fatalf("view %+v, %v", view, err)
		}
		if err := l.Destroy(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-stopped
	empty(t, runtime)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"op":"own","owner":{"pid":1}}` + "\n" + `{"op":"make","n":1,"kind":"file","what":{"path":"/x"}}` + "\n" + `{"op":"gone","n":1}` + "\n"))
	f.Add([]byte(`{"op":"made","n":1,"what":null}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		runtime := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(runtime, "vm"), 0o700), os.WriteFile(filepath.Join(runtime, "vm", "ledger"), data, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Read(runtime, "vm", kinds()); err != nil && !errors.Is(err, errcode.LedgerFailed) {
			t.Errorf("read = %v, want LEDGER_FAILED", err)
		}
	})
}

func TestLastDescriptionCounts(t *testing.T) {
	t.Parallel()
	runtime := t.TempDir()
	l, err := ledger.Create(runtime, "vm")
	if err != nil {
		t.Fatal(err)
	}
	type about struct{ Text string }
	read := func() (a about) {
		t.Helper()
		v, err := ledger.Read(runtime, "vm", kinds())
		if err == nil {
			err = v.About(&a)
		}
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if got := read(); got != (about{}) {
		t.Errorf("a ledger without a description says %+v", got)
	}
	for _, text := range []string{"first", "a \"second\"\none"} {
		if err := l.Describe(about{text}); err != nil {
			t.Fatal(err)
		}
		if got := read(); got.Text != text {
			t.Errorf("read %q, want %q", got.Text, text)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = ledger.Open(runtime, "vm", kinds())
	if err != nil {
		t.Fatal(err)
	}
	var a about
	if err := l.View().About(&a); err != nil || a.Text != "a \"second\"\none" {
		t.Errorf("the next owner reads %+v, %v", a, err)
	}
	var other []int
	if err := l.View().About(&other); !errors.Is(err, errcode.LedgerFailed) {
		t.Errorf("a description of another shape: %v, want LEDGER_FAILED", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
