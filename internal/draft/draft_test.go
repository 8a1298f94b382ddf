package draft

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

const random = "ABCDEFGHIJKLMNOPQRSTUVWX"

// plant makes what a process that was killed has left, or somebody else.
func plant(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	var err error
	if mode.IsDir() {
		err = errors.Join(os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, "rootfs"), nil, 0o600))
	} else {
		err = os.WriteFile(path, []byte("half"), 0o600)
	}
	if err := errors.Join(err, os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestOnlyWhatAKilledMakerHasLeftIsRemoved(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	for name, mode := range map[string]os.FileMode{
		prefix + random + "22": os.ModeDir | 0o700,
		prefix + random + "33": os.ModeDir | 0o755, // whole, but for its name
		prefix + random + "44": os.ModeDir | os.ModeSetgid | 0o700,
		prefix + random + "55": 0o600,
		prefix + random + "66": 0o644,
	} {
		plant(t, filepath.Join(parent, name), mode)
	}
	others := []string{".new-" + random + "22", ".new-pack-mine", prefix + random + "2", "new-pack-" + random + "22"}
	for _, name := range others {
		plant(t, filepath.Join(parent, name), os.ModeDir|0o700)
	}
	link := prefix + random + "77"
	if err := os.Symlink(others[0], filepath.Join(parent, link)); err != nil {
		t.Fatal(err)
	}
	want := append(slices.Clone(others), link)
	for _, begin := range []func(string) (*os.File, error){Dir, File, Dir} {
		f, err := begin(parent)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		want = append(want, filepath.Base(f.Name()))
		slices.Sort(want)
		if got := namesIn(t, parent); !slices.Equal(got, want) {
			t.Errorf("there are %q, want %q", got, want)
		}
	}
}

func TestDraftOfAMakerThatIsGoneIsRemovedAtOnce(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(string) (*os.File, error){"directory": Dir, "file": File} {
		parent := t.TempDir()
		f, err := begin(parent)
		if err == nil {
			err = f.Close() // as a kill does
		}
		if err != nil {
			t.Fatal(err)
		}
		next, err := begin(parent)
		if err != nil {
			t.Fatal(err)
		}
		if got := namesIn(t, parent); !slices.Equal(got, []string{filepath.Base(next.Name())}) {
			t.Errorf("%s: there are %q, want %q", name, got, next.Name())
		}
		if err := next.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDraftThatIsTakenForAbandonedIsMadeAnew(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	var made []string
	f, err := begin(parent, func(path string) (*os.File, error) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if made = append(made, path); len(made) < 3 {
			sweep(parent) // by somebody else, before there is a lock
		}
		return f, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(made) != 3 || f.Name() != made[2] {
		t.Errorf("got %s of %q, want the third", f.Name(), made)
	}
	if got := namesIn(t, parent); !slices.Equal(got, []string{filepath.Base(f.Name())}) {
		t.Errorf("there are %q", got)
	}
}

func TestMakersAtWorkKeepTheirDrafts(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	var group sync.WaitGroup
	for i := range 8 {
		begin := []func(string) (*os.File, error){Dir, File}[i%2]
		group.Go(func() {
			for range 50 {
				f, err := begin(parent)
				if err != nil {
					t.Error(err)
					return
				}
				sweep(parent)
				if err := errors.Join(os.Remove(f.Name()), f.Close()); err != nil { // it fails on one that is gone
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := namesIn(t, parent); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

func TestDraftNeedsItsDirectory(t *testing.T) {
	t.Parallel()
	for _, begin := range []func(string) (*os.File, error){Dir, File} {
		if f, err := begin(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, %v", f, err)
		}
	}
}
