package stage

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/smartvm/smartvm/internal/hosttest"
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
	for round := range 15 {
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
	hosttest.Need(t, hosttest.Loop)
	dir := openRoot(t, t.TempDir())
	image := write(t, dir, "image", 2*mib, extent{0, mib})
	place, err := new(Space).Choose(hosttest.LoopDevice(t, image), []*os.Root{dir})
	if err != nil {
		t.Fatal(err)
	}
	defer place.Release()
	if place.need != 2*mib {
		t.Errorf("needs %d bytes, want all of the device", place.need)
	}
	result, err := place.Copy(t.Context(), "copy")
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

// A long copy goes on by the way that is faster, and is the same whichever that is.
func TestLongCopyGoesOnByTheFasterWay(t *testing.T) {
	dir := openRoot(t, t.TempDir())
	const size = 6*raceLength + 4321
	src := write(t, dir, "source", size, extent{0, 2 * raceLength}, extent{3*raceLength + 17, 3 * raceLength})
	slow := func(w way) way {
		return way{w.method, func(m *mover, offset, length int64) (int64, error) {
			time.Sleep(50 * time.Millisecond)
			return w.move(m, offset, length)
		}}
	}
	for name, tt := range map[string]struct {
		ways []way
		want Method
	}{
		"the first is faster": {[]way{ways[0], slow(ways[2])}, CopyFileRange},
		"the last is faster":  {[]way{slow(ways[0]), ways[1], ways[2]}, ReadWrite},
		"there is one alone":  {[]way{ways[2]}, ReadWrite},
	} {
		in, err := openSource(src)
		if err != nil {
			t.Fatal(err)
		}
		out, err := dir.Create("copy")
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Truncate(size); err != nil {
			t.Fatal(err)
		}
		m := &mover{in: in.file, out: out, ways: tt.ways}
		if err := in.moveBy(t.Context(), m, size, func(int64) {}); err != nil {
			t.Fatal(err)
		}
		if m.method() != tt.want || !m.race.over {
			t.Errorf("%s: the last bytes went by %s, want %s; the race: %+v", name, m.method(), tt.want, m.race.legs)
		}
		if hash(t, out.Name()) != hash(t, src) {
			t.Errorf("%s: content differs", name)
		}
		in.close()
		_ = out.Close()
	}
}
