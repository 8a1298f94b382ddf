package stage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
)

func TestSourceThatIsNoImageIsRefused(t *testing.T) {
	dir := openRoot(t, t.TempDir())
	fifo := filepath.Join(dir.Name(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dir.Symlink("fifo", "link"); err != nil {
		t.Fatal(err)
	}
	for _, src := range []string{fifo, dir.Name(), "/dev/null", filepath.Join(dir.Name(), "link"), filepath.Join(dir.Name(), "missing"), ""} {
		_, err := stageInto(t, src, dir, "copy")
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != errcode.StageFailed || e.Subject != src {
			t.Errorf("%q: %v", src, err)
		}
	}
}

func TestTargetIsNeverFollowedOrReplaced(t *testing.T) {
	base := openRoot(t, t.TempDir())
	if err := base.Mkdir("vm", 0o700); err != nil {
		t.Fatal(err)
	}
	dir := openRoot(t, filepath.Join(base.Name(), "vm"))
	victim := write(t, base, "victim", 10, extent{0, 10})
	before := hash(t, victim)
	src := write(t, base, "source", 5000, extent{0, 5000})
	write(t, dir, "taken", 10, extent{0, 10})
	for link, to := range map[string]string{"planted": "../victim", "dangling": "../new", "drives": ".."} {
		if err := dir.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"taken", "planted", "dangling", "drives/copy", "../copy"} {
		if _, err := stageInto(t, src, dir, name); !errors.Is(err, errcode.StageFailed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if hash(t, victim) != before {
		t.Error("the file behind the link was written")
	}
	if got := len(names(t, base)); got != 3 {
		t.Errorf("%d entries beside the directory, want 3: %v", got, names(t, base))
	}
	if got := len(names(t, dir)); got != 4 {
		t.Errorf("%d entries in the directory, want the 4 that were there: %v", got, names(t, dir))
	}
}

// ticking is a context that acts when it is asked for the nth time, which is
// at the nth chunk of the copy.
type ticking struct {
	context.Context //nolint:containedctx // it is a context
	at              int
	act             func() error
}

func (c *ticking) Err() error {
	if c.at--; c.at < 0 {
		return c.act()
	}
	return nil
}

func TestCancelLeavesNothingWhereverItStrikes(t *testing.T) {
	from, dir := openRoot(t, t.TempDir()), openRoot(t, t.TempDir())
	src := write(t, from, "source", 3*chunkSize, extent{0, chunkSize + 5}, extent{2 * chunkSize, 5})
	before := hash(t, src)
	finished := false
	for at := 0; !finished; at++ {
		space := new(Space)
		place, err := space.Choose(src, []*os.Root{dir})
		if err != nil {
			t.Fatal(err)
		}
		if place.Reflink() {
			t.Skip("needs a temporary directory without reflinks")
		}
		_, err = place.Copy(&ticking{t.Context(), at, func() error { return context.Canceled }}, "copy")
		place.Release()
		finished = err == nil
		if finished && at < 4 {
			t.Errorf("the context was asked only %d times", at)
		}
		if !finished {
			if !errors.Is(err, context.Canceled) || !errors.Is(err, errcode.StageFailed) {
				t.Errorf("at %d: %v", at, err)
			}
			if left := names(t, dir); len(left) != 0 {
				t.Fatalf("at %d: left %v", at, left)
			}
		}
		if len(space.promised) != 0 {
			t.Errorf("at %d: still promised: %v", at, space.promised)
		}
	}
	if hash(t, src) != before {
		t.Error("the source changed")
	}
}

func TestSourceThatChangesIsReported(t *testing.T) {
	for name, change := range map[string]func(src string) error{
		"grows":   func(src string) error { return os.Truncate(src, 2*mib) },
		"shrinks": func(src string) error { return os.Truncate(src, 10) },
		"grows with its time put back": func(src string) error {
			info, err := os.Stat(src)
			if err != nil {
				return err
			}
			return errors.Join(os.Truncate(src, 2*mib), os.Chtimes(src, info.ModTime(), info.ModTime()))
		},
		"written": func(src string) error {
			f, err := os.OpenFile(src, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("new"), 0)
			long := time.Unix(1, 0) // the kernel's own stamp may be as coarse as a tick
			return errors.Join(err, f.Close(), os.Chtimes(src, long, long))
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, dir := openRoot(t, t.TempDir()), openRoot(t, t.TempDir())
			src := write(t, from, "source", mib, extent{0, mib})
			place, err := new(Space).Choose(src, []*os.Root{dir})
			if err != nil {
				t.Fatal(err)
			}
			defer place.Release()
			if place.Reflink() {
				t.Skip("needs a temporary directory without reflinks")
			}
			_, err = place.Copy(&ticking{t.Context(), 1, func() error { return change(src) }}, "copy")
			if !errors.Is(err, errChanged) || !errors.Is(err, errcode.StageFailed) {
				t.Errorf("got %v", err)
			}
			if left := names(t, dir); len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestTargetOnAReadOnlyFileSystemFails(t *testing.T) {
	src := write(t, openRoot(t, t.TempDir()), "source", 10, extent{0, 10})
	dir := hosttest.Mount(t, "tmpfs", map[string]string{"size": "40m"})
	if err := unix.MountSetattr(-1, dir.Name(), 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		t.Fatal(err)
	}
	if _, err := stageInto(t, src, dir, "copy"); !errors.Is(err, unix.EROFS) || !errors.Is(err, errcode.StageFailed) {
		t.Errorf("got %v", err)
	}
}

func TestPlaceMayBeReleasedTwiceAndLeaksNoDescriptor(t *testing.T) {
	dir := openRoot(t, t.TempDir())
	src := write(t, dir, "source", 10, extent{0, 10})
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := count()
	for range 20 {
		place, err := new(Space).Choose(src, []*os.Root{dir})
		if err != nil {
			t.Fatal(err)
		}
		_, err = place.Copy(t.Context(), "copy")
		if err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		place.Release()
		place.Release()
		if _, err := new(Space).Choose(src, nil); err == nil {
			t.Fatal("chose nothing of nothing")
		}
	}
	// Other tests of the process are not running: this one is not parallel.
	if after := count(); after > before+5 {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
