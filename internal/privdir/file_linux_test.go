package privdir_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// entries lists a directory.
func entries(t *testing.T, path string) string {
	t.Helper()
	list, err := os.ReadDir(path)
	must(t, err)
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	return strings.Join(names, " ")
}

func TestCreateRefusesWhateverHasTheName(t *testing.T) {
	base := t.TempDir()
	dir := ensure(t, base+"/d")
	f, err := dir.Create("new")
	must(t, err)
	info, err := f.Stat()
	must(t, err, f.Close())
	if info.Mode() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}
	must(t, dir.Root().Symlink("../outside", "link"))
	for _, name := range []string{"new", "link"} {
		if _, err := dir.Create(name); !errors.Is(err, errcode.DirectoryFailed) || !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := entries(t, base); got != "d" {
		t.Errorf("beside the directory: %s", got)
	}
}

func TestNamesWithSeparatorsAreRefused(t *testing.T) {
	base := t.TempDir()
	dir := ensure(t, base+"/d")
	must(t, dir.Root().Mkdir("sub", 0o700), os.WriteFile(base+"/outside", nil, 0o600))
	for _, name := range []string{"", ".", "..", "/", "sub/x", "../outside", "sub/", base + "/outside"} {
		_, err := dir.Create(name)
		for _, err := range []error{err, dir.WriteFile(name, nil, false), dir.RemoveAll(name)} {
			if !errors.Is(err, fs.ErrInvalid) || !errors.Is(err, errcode.DirectoryFailed) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if got := entries(t, base); got != "d outside" {
		t.Errorf("left %s", got)
	}
}

func TestWriteFileReplacesInOneStep(t *testing.T) {
	base := t.TempDir()
	dir := ensure(t, base+"/d")
	must(t, os.WriteFile(base+"/outside", []byte("old"), 0o600), dir.Root().Symlink("../outside", "link"))
	for _, durable := range []bool{false, true} {
		for _, name := range []string{"file", "link"} {
			want := fmt.Sprint(name, durable)
			must(t, dir.WriteFile(name, []byte(want), durable))
			got, err := os.ReadFile(base + "/d/" + name)
			info, statErr := os.Lstat(base + "/d/" + name)
			must(t, err, statErr)
			if string(got) != want || info.Mode() != 0o600 {
				t.Errorf("%s has %q and mode %v", name, got, info.Mode())
			}
		}
	}
	if got, err := os.ReadFile(base + "/outside"); err != nil || string(got) != "old" {
		t.Errorf("wrote through the link: %q, %v", got, err)
	}
	if got := entries(t, base+"/d"); got != "file link" {
		t.Errorf("left %s", got)
	}
}

func TestReadersNeverSeeHalfAFile(t *testing.T) {
	dir := ensure(t, t.TempDir()+"/d")
	whole := map[string]bool{strings.Repeat("a", 100000): true, strings.Repeat("b", 200000): true}
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		defer close(done)
		for range 50 {
			for text := range whole {
				if err := dir.WriteFile("file", []byte(text), false); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		got, err := dir.Root().ReadFile("file")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err == nil && !whole[string(got)] {
			t.Fatalf("read %d bytes that nobody wrote", len(got))
		}
	}
	group.Wait()
}

func TestFailedWriteLeavesTheOldFileAndNothingElse(t *testing.T) {
	if !alone(t) {
		return
	}
	base := mountTmpfs(t, 0, "mode=700,size=64k")
	dir := ensure(t, base)
	must(t, dir.WriteFile("file", []byte("old"), true), dir.Root().MkdirAll("taken/x", 0o700))
	if err := dir.WriteFile("file", make([]byte, 100<<10), false); !errors.Is(err, unix.ENOSPC) || !errors.Is(err, errcode.DirectoryFailed) {
		t.Errorf("full: %v", err)
	}
	if err := dir.WriteFile("taken", []byte("new"), false); !errors.Is(err, errcode.DirectoryFailed) {
		t.Errorf("a directory in the way: %v", err)
	}
	got, err := os.ReadFile(base + "/file")
	if err != nil || string(got) != "old" || entries(t, base) != "file taken" {
		t.Errorf("has %q, %v; %s", got, err, entries(t, base))
	}
}

func TestRemoveAllRemovesLinksAndNotWhatTheyName(t *testing.T) {
	base := t.TempDir()
	dir := ensure(t, base+"/d")
	must(t,
		os.MkdirAll(base+"/outside/keep", 0o700),
		dir.Root().MkdirAll("tree/deep", 0o700),
		dir.Root().Symlink("../../../outside", "tree/deep/link"),
		dir.Root().Symlink(base+"/outside", "link"),
		unix.Mkfifo(base+"/d/tree/fifo", 0o600),
	)
	must(t, dir.RemoveAll("tree"), dir.RemoveAll("link"), dir.RemoveAll("missing"))
	if got := entries(t, base+"/d"); got != "" {
		t.Errorf("left %s", got)
	}
	if got := entries(t, base+"/outside"); got != "keep" {
		t.Errorf("behind the link: %q", got)
	}
}

func TestConcurrentRemoversAllSucceed(t *testing.T) {
	dir := ensure(t, t.TempDir()+"/d")
	for range 10 {
		for i := range 10 {
			sub := fmt.Sprintf("tree/%d/deep", i)
			must(t, dir.Root().MkdirAll(sub, 0o700))
			for j := range 10 {
				must(t, dir.Root().WriteFile(fmt.Sprintf("%s/%d", sub, j), nil, 0o600))
			}
		}
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if err := dir.RemoveAll("tree"); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if _, err := dir.Root().Lstat("tree"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the tree is still there: %v", err)
		}
	}
}

func TestDirStaysWhatWasCheckedWhenItsPathMoves(t *testing.T) {
	base := t.TempDir()
	dir := ensure(t, base+"/d")
	must(t, os.Rename(base+"/d", base+"/moved"), os.Mkdir(base+"/d", 0o700))
	must(t, dir.WriteFile("file", nil, false))
	if entries(t, base+"/moved") != "file" || entries(t, base+"/d") != "" {
		t.Errorf("moved has %q, the new one %q", entries(t, base+"/moved"), entries(t, base+"/d"))
	}
}
