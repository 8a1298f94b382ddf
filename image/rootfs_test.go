package image_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/hosttest"
)

// blocks is the room that a file takes, in bytes.
func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// tool runs one of e2fsprogs, wherever Debian puts it.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name
		if _, err := os.Stat(path); err != nil {
			hosttest.Need(t, hosttest.Tool(name))
		}
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestBlankRootfsIsASoundJournalledExt4(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	store := s.Store(t)
	// A group has 128 MiB and keeps its tables in the first of eight, so that a last
	// group may have no room for them.
	for _, size := range []int64{image.MinBlankMiB, 129, 1025, 1027} {
		path, err := store.CreateBlankRootfs(t.Context(), "blank", size)
		if err != nil {
			t.Fatalf("%d MiB: %v", size, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Size() != size<<20 || info.Mode() != 0o600 {
			t.Errorf("%d MiB: %+v, %v", size, info, err)
		}
		if room := blocks(t, path); room > 256<<10+size*256 {
			t.Errorf("%d MiB: takes %d bytes", size, room)
		}
		tool(t, "e2fsck", "-fn", path)
		about := tool(t, "dumpe2fs", "-h", path)
		for _, want := range []string{"has_journal", "extent", "Block size:               4096", "Filesystem state:         clean", "volume name:   smartvm"} {
			if !strings.Contains(about, want) {
				t.Errorf("%d MiB: no %q in\n%s", size, want, about)
			}
		}
		if t.Failed() {
			return
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBlankRootfsTakesFiles(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	path, err := s.Store(t).CreateBlankRootfs(t.Context(), "blank", 64)
	if err != nil {
		t.Fatal(err)
	}
	content := noise(8 << 20)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "debugfs", "-w", "-R", "write "+file+" copy", path)
	tool(t, "debugfs", "-R", "dump copy "+file+".back", path)
	if back, err := os.ReadFile(file + ".back"); err != nil || !bytes.Equal(back, content) {
		t.Errorf("%d bytes came back, %v", len(back), err)
	}
	tool(t, "e2fsck", "-fn", path)
}

func TestBlankDiskWritesWhatItIsToldAndNoZerosIntoHoles(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	disk := image.NewBlankDisk(t.Context(), f)
	model := make([]byte, size)
	write := func(data []byte, at int) {
		if n, err := disk.WriteAt(data, int64(at)); err != nil || n != len(data) {
			t.Fatalf("wrote %d of %d bytes: %v", n, len(data), err)
		}
		copy(model[at:], data)
	}
	write(make([]byte, size), 0)
	if room := blocks(t, f.Name()); room != 0 {
		t.Errorf("zeros take %d bytes", room)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		at := random.IntN(size)
		data := make([]byte, random.IntN(min(20_000, size-at))+1)
		if random.IntN(2) == 0 {
			copy(data, noise(len(data)))
		}
		write(data, at)
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, model) {
		t.Errorf("the content is another, %v", err)
	}
}

func TestBlankRootfsHasLimits(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, size := range []int64{-1 << 62, -1, 0, image.MinBlankMiB - 1, image.MaxBlankMiB + 1, 1 << 62} {
		_, err := s.Store(t).CreateBlankRootfs(t.Context(), "blank", size)
		checkCode(t, err, errcode.InvalidConfig)
	}
	if tree := s.tree(t); len(tree) != 0 {
		t.Errorf("it left %v", tree)
	}
}

func TestRootfsWithANameThatLeadsElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, name := range append(badNames, "") {
		_, blank := s.Store(t).CreateBlankRootfs(t.Context(), name, 8)
		checkCode(t, blank, errcode.InvalidConfig)
		_, clone := s.Store(t).CloneRootfs(t.Context(), "/proc/self/exe", name)
		checkCode(t, clone, errcode.InvalidConfig)
	}
	if tree := s.tree(t); len(tree) != 0 {
		t.Errorf("it left %v", tree)
	}
}

func TestExistingRootfsIsNeverReplaced(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	store := s.Store(t)
	dir := image.RootfsDir(s.opts.DataDir)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(dir+"/file", []byte("mine"), 0o600), os.Symlink("nowhere", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "link"} {
		_, err := store.CreateBlankRootfs(t.Context(), name, 8)
		if e := checkCode(t, err, errcode.RootfsCreateFailed); e.Hint == "" {
			t.Errorf("%v has no hint", err)
		}
		_, err = store.CloneRootfs(t.Context(), dir+"/file", name)
		if e := checkCode(t, err, errcode.RootfsCloneFailed); e.Hint == "" {
			t.Errorf("%v has no hint", err)
		}
	}
	if diff := cmp.Diff(map[string]string{"rootfs/file": "mine", "rootfs/link": ""}, s.tree(t)); diff != "" {
		t.Error(diff)
	}
}

func TestOneOfManyGetsTheName(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var made atomic.Int32
	var group sync.WaitGroup
	for range 6 {
		store := s.Store(t)
		group.Go(func() {
			switch _, err := store.CreateBlankRootfs(t.Context(), "blank", 8); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, errcode.RootfsCreateFailed):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if tree := s.tree(t); made.Load() != 1 || len(tree) != 1 {
		t.Errorf("%d were made, there are %d files", made.Load(), len(tree))
	}
}

func TestCancelledRootfsLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	reason := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		_, err := s.Store(t).CreateBlankRootfs(ctx, "blank", 1<<20) // it would take a minute
		if checkCode(t, err, errcode.Cancelled); !errors.Is(err, reason) {
			t.Errorf("got %v, want the cause", err)
		}
	})
	until(t, "a draft", func() bool {
		drafts, err := filepath.Glob(image.RootfsDir(s.opts.DataDir) + "/.new-*")
		return err == nil && len(drafts) > 0
	})
	cancel(reason)
	group.Wait()
	_, err := s.Store(t).CloneRootfs(ctx, "/proc/self/exe", "clone")
	if checkCode(t, err, errcode.Cancelled); !errors.Is(err, reason) {
		t.Errorf("got %v, want the cause", err)
	}
	if tree := s.tree(t); len(tree) != 0 {
		t.Errorf("it left %v", tree)
	}
}

func TestDraftsOfTheDeadAreRemovedAndThoseOfTheLivingAreNot(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	dir := image.RootfsDir(s.opts.DataDir)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(dir+"/.new-DEAD", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	living, err := os.OpenFile(dir+"/.lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer living.Close()
	if err := filelock.Try(living, filelock.Range{}, filelock.Shared); err != nil {
		t.Fatal(err)
	}
	gone := func(name string) bool {
		if _, err := s.Store(t).CreateBlankRootfs(t.Context(), name, 8); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(dir + "/.new-DEAD")
		return errors.Is(err, fs.ErrNotExist)
	}
	if gone("a") {
		t.Error("the draft is gone, although somebody is at work")
	}
	if err := filelock.Release(living, filelock.Range{}); err != nil {
		t.Fatal(err)
	}
	// A process that another test forks has the lock of the first call until it runs its
	// program, as if that was still at work.
	n := 0
	until(t, "the draft to go", func() bool { n++; return gone(fmt.Sprint("b", n)) })
}

func TestCloneIsEqualSparseAndPrivate(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	store := s.Store(t)
	source := filepath.Join(t.TempDir(), "source")
	data := noise(1 << 20)
	f, err := os.Create(source)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, 512<<20)
	if err := errors.Join(err, f.Truncate(1<<30), f.Chmod(0o644), f.Close()); err != nil {
		t.Fatal(err)
	}
	path, err := store.CloneRootfs(t.Context(), source, "clone")
	if want := image.RootfsPath(s.opts.DataDir, "clone"); err != nil || path != want {
		t.Fatalf("got %s, %v, want %s", path, err, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != 1<<30 || info.Mode() != 0o600 || blocks(t, path) > 2<<20 {
		t.Errorf("%+v, %v, %d bytes of room", info, err, blocks(t, path))
	}
	clone, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer clone.Close()
	got := make([]byte, len(data))
	if _, err := clone.ReadAt(got, 512<<20); err != nil || !bytes.Equal(got, data) {
		t.Errorf("other content, %v", err)
	}
	names, err := os.ReadDir(image.RootfsDir(s.opts.DataDir))
	if err != nil || len(names) != 2 { // the clone and the lock
		t.Errorf("there are %v, %v", names, err)
	}
}

func TestCloneOfWhatIsNoImageFails(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, source := range []string{"/nonexistent", "/dev/null", t.TempDir(), ""} {
		_, err := s.Store(t).CloneRootfs(t.Context(), source, "clone")
		checkCode(t, err, errcode.RootfsCloneFailed)
	}
	if tree := s.tree(t); len(tree) != 0 {
		t.Errorf("it left %v", tree)
	}
}
