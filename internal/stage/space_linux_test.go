package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

func TestChoosePrefersAReflinkToAnEarlierDirectory(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			disk, memory := onDisk(t, kind, 400*mib), tmpfs(t, "100m")
			src := write(t, disk, "source", 20*mib, extent{0, 20 * mib})
			place, err := new(Space).Choose(src, []*os.Root{memory, disk})
			if err != nil {
				t.Fatal(err)
			}
			defer place.Release()
			if place.Dir != disk || !place.Reflink() {
				t.Errorf("chose %s, reflink %v", place.Dir.Name(), place.Reflink())
			}
			if left := names(t, disk); len(left) != 1 {
				t.Errorf("something has a name before Copy: %v", left)
			}
			place.Release()
			if left := names(t, disk); len(left) != 1 {
				t.Errorf("left without Copy: %v", left)
			}
		})
	}
}

func TestChooseTakesTheFirstDirectoryWithRoom(t *testing.T) {
	small, first, second := tmpfs(t, "20m"), tmpfs(t, "64m"), tmpfs(t, "64m")
	src := write(t, openRoot(t, t.TempDir()), "source", 100*mib, extent{50 * mib, 10 * mib})
	place, err := new(Space).Choose(src, []*os.Root{small, first, second})
	if err != nil {
		t.Fatal(err)
	}
	defer place.Release()
	if place.Dir != first || place.Reflink() {
		t.Errorf("chose %s, reflink %v", place.Dir.Name(), place.Reflink())
	}
}

func TestNoSpaceNamesFileNeedAndFree(t *testing.T) {
	small := tmpfs(t, "20m")
	src := write(t, openRoot(t, t.TempDir()), "source", 100*mib, extent{50 * mib, 10 * mib})
	_, err := new(Space).Choose(src, []*os.Root{small})
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != errcode.NoSpace || e.Subject != src || e.Hint == "" {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"needs 26.0 MiB", small.Name() + " has 20.0 MiB free", "data directory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	want := []errcode.Detail{
		{Field: "target", Message: small.Name()},
		{Field: "need", Message: "27262976 bytes"},
		{Field: "free", Message: "20971520 bytes"},
	}
	for i, d := range want {
		if i >= len(e.Details) || e.Details[i] != d {
			t.Errorf("details are %v, want %v", e.Details, want)
			break
		}
	}
	if left := names(t, small); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestTmpfsIsLimitedByMemoryToo(t *testing.T) {
	memory := tmpfs(t, "0") // no limit of its own
	_, short, err := new(Space).reserve(memory, 1<<50)
	if err != nil || short == nil || !short.memory {
		t.Fatalf("got %+v, %v", short, err)
	}
	if text := noSpace("image", []shortage{*short}).Error(); !strings.Contains(text, "available memory") {
		t.Errorf("%q does not speak of memory", text)
	}
	// The memory is one for all file systems in it.
	space := new(Space)
	free, err := availableMemory()
	if err != nil {
		t.Fatal(err)
	}
	if _, short, err := space.reserve(memory, free/2); err != nil || short != nil {
		t.Fatalf("got %+v, %v", short, err)
	}
	if _, short, err := space.reserve(tmpfs(t, "0"), free*3/4); err != nil || short == nil || !short.memory {
		t.Errorf("got %+v, %v", short, err)
	}
}

func TestPreallocatedBlocksNeedNoRoom(t *testing.T) {
	from := openRoot(t, t.TempDir())
	src := write(t, from, "source", 64*mib, extent{0, 4096})
	f, err := os.OpenFile(src, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, 64*mib), f.Close())
	if err != nil {
		t.Skip("needs a temporary directory that preallocates: ", err)
	}
	result, err := stageInto(t, src, tmpfs(t, "20m"), "copy")
	if err != nil || result.Allocated > mib {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestFileSystemThatFillsUpMeanwhileIsNoSpace(t *testing.T) {
	dir := tmpfs(t, "64m")
	src := write(t, openRoot(t, t.TempDir()), "source", 40*mib, extent{0, 40 * mib})
	space := new(Space)
	place, err := space.Choose(src, []*os.Root{dir})
	if err != nil {
		t.Fatal(err)
	}
	defer place.Release()
	write(t, dir, "intruder", 40*mib, extent{0, 40 * mib})
	_, err = place.Copy(t.Context(), "copy")
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != errcode.NoSpace || e.Subject != src || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("left %v", left)
	}
}

func TestConcurrentChoicesNeverPromiseMoreThanThereIs(t *testing.T) {
	dir := tmpfs(t, "100m") // 84 MiB above the margin: eight images of 10 MiB
	src := write(t, openRoot(t, t.TempDir()), "source", 10*mib, extent{0, 10 * mib})
	space := new(Space)
	places := make([]*Place, 20)
	var group sync.WaitGroup
	for i := range places {
		group.Go(func() {
			place, err := space.Choose(src, []*os.Root{dir})
			if err != nil {
				if !errors.Is(err, errcode.NoSpace) {
					t.Error(err)
				}
				return
			}
			places[i] = place
		})
	}
	group.Wait()
	places = slices.DeleteFunc(places, func(p *Place) bool { return p == nil })
	if len(places) != 8 {
		t.Errorf("%d images were let in, want 8", len(places))
	}
	for i, place := range places {
		group.Go(func() {
			defer place.Release()
			if _, err := place.Copy(t.Context(), fmt.Sprint("copy", i)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if len(space.promised) != 0 || space.memory != 0 {
		t.Errorf("still promised: %v, memory %d", space.promised, space.memory)
	}
}

func TestPromiseIsHeldUntilReleasedAndShrinksWithTheCopy(t *testing.T) {
	dir := tmpfs(t, "64m")
	src := write(t, openRoot(t, t.TempDir()), "source", 20*mib, extent{0, 20 * mib})
	space := new(Space)
	choose := func() (*Place, error) { return space.Choose(src, []*os.Root{dir}) }
	first, err := choose()
	if err != nil {
		t.Fatal(err)
	}
	second, err := choose()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := choose(); !errors.Is(err, errcode.NoSpace) {
		t.Errorf("a third image of 20 MiB fits into 48: %v", err)
	}
	second.Release()
	if _, err := first.Copy(t.Context(), "copy"); err != nil {
		t.Fatal(err)
	}
	defer first.Release()
	// Written bytes must not count twice while the place is still held.
	third, err := choose()
	if err != nil {
		t.Fatal(err)
	}
	third.Release()
}

func TestReflinkIsRefusedWhereTheMarginIsGone(t *testing.T) {
	disk, memory := onDisk(t, "xfs", 400*mib), tmpfs(t, "100m")
	src := write(t, disk, "source", 20*mib, extent{0, 20 * mib})
	has, err := roomOf(disk)
	if err != nil {
		t.Fatal(err)
	}
	space := &Space{promised: map[uint64]int64{has.device: has.free - margin/2}}
	place, err := space.Choose(src, []*os.Root{disk, memory})
	if err != nil {
		t.Fatal(err)
	}
	defer place.Release()
	if place.Dir != memory {
		t.Errorf("chose %s", place.Dir.Name())
	}
}

func TestReflinkNeverReplacesOrLeavesItsDirectory(t *testing.T) {
	disk := onDisk(t, "btrfs", 300*mib)
	if err := errors.Join(disk.Mkdir("vm", 0o700), disk.Mkdir("outside", 0o700)); err != nil {
		t.Fatal(err)
	}
	vm, err := disk.OpenRoot("vm")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = vm.Close() }()
	src := write(t, disk, "source", mib, extent{0, mib})
	write(t, vm, "taken", 10)
	err = errors.Join(vm.Mkdir("drives", 0o700), vm.Symlink("../outside/new", "link"), vm.Symlink("../outside", "out"))
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{
		"taken": false, "link": false, "out/copy": false, "../copy": false, "drives": false, "new": true, "drives/new": true,
	} {
		result, err := stageInto(t, src, vm, name)
		if (err == nil) != ok || err != nil && !errors.Is(err, errcode.StageFailed) || ok && result.Method != Reflink {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
	}
	outside, err := fs.ReadDir(disk.FS(), "outside")
	if err != nil || len(outside) != 0 {
		t.Errorf("outside has %v, %v", outside, err)
	}
	info, err := vm.Stat("drives/new")
	if err != nil || info.Mode() != 0o600 || info.Size() != mib {
		t.Errorf("got %v, %v", info, err)
	}
}
