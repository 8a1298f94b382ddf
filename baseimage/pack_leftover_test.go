package baseimage

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestOnlyWhatAKilledPackHasLeftIsRemoved(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	const random = "ABCDEFGHIJKLMNOPQRSTUVWX"
	old := time.Now().Add(-time.Hour)
	plant := func(name string, mode os.FileMode, changed time.Time) string {
		t.Helper()
		path := filepath.Join(parent, name)
		if err := os.Mkdir(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "rootfs"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, changed, changed); err != nil {
			t.Fatal(err)
		}
		return path
	}
	left := plant(".new-"+random+"22", 0o700, old)
	plant(".new-"+random+"33", 0o700, time.Now())
	plant(".new-"+random+"44", 0o755, old)
	plant(".new-mine", 0o700, old)
	plant("new-"+random+"55", 0o700, old)
	at := plant(".new-"+random+"66", 0o700, old)
	if err := os.Symlink(left, filepath.Join(parent, ".new-"+random+"77")); err != nil {
		t.Fatal(err)
	}
	work := lockDir(at)
	if work == nil {
		t.Fatal("a free directory can't be locked")
	}
	want := namesOf(t, parent)
	sweepPacking(parent, time.Now())
	want = slices.DeleteFunc(want, func(name string) bool { return name == filepath.Base(left) })
	if got := namesOf(t, parent); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	if err := work.Close(); err != nil { // as a kill does
		t.Fatal(err)
	}
	sweepPacking(parent, time.Now())
	if _, err := os.Lstat(at); err == nil {
		t.Error("what nobody works on any more is left")
	}
}

func namesOf(t *testing.T, dir string) []string {
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
