package stage

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

const mib = 1 << 20

// stageInto chooses the one directory and copies.
func stageInto(t *testing.T, src string, dir *os.Root, name string) (Result, error) {
	t.Helper()
	place, err := new(Space).Choose(src, []*os.Root{dir})
	if err != nil {
		return Result{}, err
	}
	defer place.Release()
	return place.Copy(t.Context(), name)
}

// checkCopy compares the file copy in dir with its source.
func checkCopy(t *testing.T, src string, dir *os.Root, result Result) {
	t.Helper()
	copied := filepath.Join(dir.Name(), "copy")
	info, err := os.Lstat(copied)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.Stat(src)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode is %v, want 0600", info.Mode())
	}
	if info.Size() != source.Size() || result.Bytes != source.Size() {
		t.Errorf("size is %d, reported %d, want %d", info.Size(), result.Bytes, source.Size())
	}
	if result.Allocated != blocks(t, copied) {
		t.Errorf("reported %d allocated bytes, has %d", result.Allocated, blocks(t, copied))
	}
	// Metadata blocks of ext4 and the larger folios of others are no holes lost.
	if got, want := blocks(t, copied), blocks(t, src); got > want+want/8+256<<10 {
		t.Errorf("holes are lost: %d bytes allocated, the source has %d", got, want)
	}
	if hash(t, copied) != hash(t, src) {
		t.Error("content differs")
	}
}

func TestCopyKeepsContentAndHolesBetweenFileSystems(t *testing.T) {
	xfs, btrfs := onDisk(t, "xfs", 400*mib), onDisk(t, "btrfs", 400*mib)
	ext4, memory, other := onDisk(t, "ext4", 200*mib), tmpfs(t, "100m"), tmpfs(t, "100m")
	host := openRoot(t, t.TempDir())
	tests := map[string]struct {
		from, to *os.Root
		want     []Method
	}{
		"ext4 to tmpfs":     {ext4, memory, []Method{Sendfile}},
		"ext4 to ext4":      {ext4, ext4, []Method{CopyFileRange}},
		"tmpfs to tmpfs":    {memory, memory, []Method{CopyFileRange}},
		"tmpfs to another":  {memory, other, []Method{Sendfile}},
		"tmpfs to ext4":     {memory, ext4, []Method{Sendfile}},
		"xfs to xfs":        {xfs, xfs, []Method{Reflink}},
		"xfs to tmpfs":      {xfs, memory, []Method{Sendfile}},
		"btrfs to btrfs":    {btrfs, btrfs, []Method{Reflink}},
		"btrfs to xfs":      {btrfs, xfs, []Method{Sendfile}},
		"host to host":      {host, host, []Method{Reflink, CopyFileRange}},
		"host to elsewhere": {host, memory, []Method{Sendfile}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			src := write(t, tt.from, "source", 48*mib+4321, extent{0, 5000}, extent{8 * mib, 3 * mib}, extent{30*mib + 17, 100})
			defer func() { _ = tt.from.Remove("source") }()
			before := hash(t, src)
			result, err := stageInto(t, src, tt.to, "copy")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tt.to.Remove("copy") }()
			checkCopy(t, src, tt.to, result)
			ok := false
			for _, method := range tt.want {
				ok = ok || method == result.Method
			}
			if !ok {
				t.Errorf("method is %s, want %s", result.Method, tt.want)
			}
			if hash(t, src) != before {
				t.Error("the source changed")
			}
		})
	}
}

func TestEveryWayCopiesTheSame(t *testing.T) {
	dir := openRoot(t, t.TempDir())
	src := write(t, dir, "source", 3*mib+5, extent{0, 3}, extent{mib, 700001}, extent{3*mib - 1, 6})
	in, err := openSource(src)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	for _, w := range ways {
		out, err := dir.Create(string(w.method))
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Truncate(3*mib + 5); err != nil {
			t.Fatal(err)
		}
		m := &mover{in: in.file, out: out, ways: []way{w}}
		for e, err := range in.extents(3*mib + 5) {
			for err == nil && e.length > 0 {
				var n int64
				n, err = m.move(e.offset, e.length)
				e.offset, e.length = e.offset+n, e.length-n
			}
			if err != nil {
				t.Fatalf("%s: %v", w.method, err)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		if hash(t, out.Name()) != hash(t, src) {
			t.Errorf("%s: content differs", w.method)
		}
	}
}

func TestCopyOfUnusualSizes(t *testing.T) {
	dir := openRoot(t, t.TempDir())
	tests := map[string]struct {
		size int64
		data []extent
	}{
		"empty":           {0, nil},
		"one byte":        {1, []extent{{0, 1}}},
		"odd and dense":   {123457, []extent{{0, 123457}}},
		"only a hole":     {64 * mib, nil},
		"trailing hole":   {10*mib + 1, []extent{{0, 4096}}},
		"leading hole":    {10 * mib, []extent{{10*mib - 1, 1}}},
		"more than chunk": {chunkSize + 3, []extent{{0, chunkSize + 3}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			src := write(t, dir, "source", tt.size, tt.data...)
			defer func() { _ = dir.Remove("source") }()
			result, err := stageInto(t, src, dir, "copy")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = dir.Remove("copy") }()
			checkCopy(t, src, dir, result)
		})
	}
}

// Whoever read the hole would not finish within the time-out of the test.
func TestHugeHoleIsNotRead(t *testing.T) {
	dir := openRoot(t, t.TempDir())
	const size = 1 << 40
	src := write(t, dir, "source", size, extent{1 << 39, 4096})
	result, err := stageInto(t, src, dir, "copy")
	if err != nil {
		t.Fatal(err)
	}
	if result.Bytes != size || result.Allocated > mib {
		t.Errorf("size %d, allocated %d", result.Bytes, result.Allocated)
	}
	got := make([]byte, 4096)
	want := make([]byte, 4096)
	for file, into := range map[string][]byte{"copy": got, "source": want} {
		f, err := dir.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(into, 1<<39); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	if string(got) != string(want) {
		t.Error("the data in the middle differs")
	}
}

func TestRandomLayoutsCopyExactly(t *testing.T) {
	dirs := map[string]*os.Root{"host": openRoot(t, t.TempDir())}
	if os.Geteuid() == 0 {
		dirs["tmpfs"], dirs["btrfs"] = tmpfs(t, "100m"), onDisk(t, "btrfs", 300*mib)
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 30 {
		size := random.Int64N(6 * mib)
		var data []extent
		for range random.IntN(12) {
			at := random.Int64N(size + 1)
			data = append(data, extent{at, min(random.Int64N(mib), size-at)})
		}
		for from, source := range dirs {
			src := write(t, source, "source", size, data...)
			for to, dir := range dirs {
				result, err := stageInto(t, src, dir, "copy")
				if err != nil {
					t.Fatal(err)
				}
				checkCopy(t, src, dir, result)
				if t.Failed() {
					t.Fatalf("seed %d round %d, %s to %s: %d bytes, %v", seed, round, from, to, size, data)
				}
				_ = dir.Remove("copy")
			}
			_ = source.Remove("source")
		}
	}
}

func TestBlockDeviceIsCopiedBySize(t *testing.T) {
	needRoot(t)
	dir := openRoot(t, t.TempDir())
	image := write(t, dir, "image", 2*mib, extent{0, mib})
	result, err := stageInto(t, loop(t, image), dir, "copy")
	if err != nil {
		t.Fatal(err)
	}
	if result.Bytes != 2*mib || hash(t, filepath.Join(dir.Name(), "copy")) != hash(t, image) {
		t.Errorf("the copy differs: %+v", result)
	}
}

func TestSourceLinkIsFollowed(t *testing.T) {
	dir := openRoot(t, t.TempDir())
	src := write(t, dir, "source", 5000, extent{0, 5000})
	if err := dir.Symlink("source", "link"); err != nil {
		t.Fatal(err)
	}
	result, err := stageInto(t, filepath.Join(dir.Name(), "link"), dir, "copy")
	if err != nil {
		t.Fatal(err)
	}
	checkCopy(t, src, dir, result)
}

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
	in, err := openSource(src)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	if in.canReflink(dir) {
		t.Skip("needs a temporary directory without reflinks")
	}
	finished := false
	for at := 0; !finished; at++ {
		space := new(Space)
		place, err := space.Choose(src, []*os.Root{dir})
		if err != nil {
			t.Fatal(err)
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
		"written": func(src string) error {
			f, err := os.OpenFile(src, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("new"), 0)
			return errors.Join(err, f.Close(), os.Chtimes(src, timeZero, timeZero))
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
			if place.Reflink {
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
	dir := detached(t, "tmpfs", map[string]string{"size": "40m"})
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
