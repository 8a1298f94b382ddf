package jail

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/stage"
)

func TestWithoutAJailBothPathsAreTheSameAbsoluteOne(t *testing.T) {
	t.Parallel()
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var table Table
	inside, err := table.Add("kernel", "vmlinux", Read)
	if want := filepath.Join(cwd, "vmlinux"); err != nil || inside != want || table.Host("kernel") != want || table.Inside("kernel") != want {
		t.Errorf("inside %q, host %q, %v; want %q for both", inside, table.Host("kernel"), err, want)
	}
	if table.Host("initrd") != "" {
		t.Error("a role that was never entered has a file")
	}
}

func TestPutMovesOneFileAndEntersANewOne(t *testing.T) {
	t.Parallel()
	var table Table
	for role, path := range map[string]string{"drive a": "/img", "drive b": "/other"} {
		if _, err := table.Add(role, path, Read); err != nil {
			t.Fatal(err)
		}
	}
	for _, role := range []string{"drive a", "drive c"} {
		f, err := table.File(role, "/copy", Read)
		if table.Put(f); err != nil || table.Inside(role) != "/copy" || table.Host(role) != "/copy" {
			t.Errorf("%s: inside %q, host %q, %v", role, table.Inside(role), table.Host(role), err)
		}
	}
	if table.Host("drive b") != "/other" || len(table.Files) != 3 {
		t.Errorf("files %+v", table.Files)
	}
}

func TestEmptyPathIsAnError(t *testing.T) {
	t.Parallel()
	var table Table
	if _, err := table.Add("kernel", "", Read); err == nil {
		t.Error("Add accepts an empty path")
	}
}

func TestFileDoesNotEnterThroughALink(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	base, outside := t.TempDir(), t.TempDir()
	file := filepath.Join(base, "image")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	j := New(filepath.Join(base, "jail"), "/usr/bin/program", "vm", 1_800_000_000)
	if err := j.Make(); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(j.Root, "drive")); err != nil {
		t.Fatal(err)
	}
	e, err := j.Enter(new(stage.Space))
	if err != nil {
		t.Fatal(err)
	}
	err = e.Bring(t.Context(), File{Role: "drive a", Host: file, Inside: "drive/a", Access: Read})
	if err := errors.Join(e.Close(), j.Make()); !errors.Is(err, os.ErrExist) {
		t.Errorf("a jail is made twice: %v", err)
	}
	left, listed := os.ReadDir(outside)
	if err == nil || listed != nil || len(left) != 0 {
		t.Errorf("got %v, and outside is %v, %v", err, left, listed)
	}
}
