package snapshot_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/snapshot"
)

// BenchmarkMerge compares the merge of a chain with copying its data: the base and then
// the extents of each layer, by the same system calls, with nothing checked or recorded.
// The metric "x-copy" is the speed of the merge against that, by the medians of one run.
func BenchmarkMerge(b *testing.B) {
	places := map[string]func(*testing.B) string{
		"ext4": func(b *testing.B) string { b.Helper(); return filepath.Join(b.TempDir(), "store") },
		"tmpfs": func(b *testing.B) string {
			b.Helper()
			dir, err := os.MkdirTemp("/dev/shm", "merge") //nolint:usetesting // b.TempDir is on a disk
			must(b, err)
			b.Cleanup(func() { _ = os.RemoveAll(dir) })
			return filepath.Join(dir, "store")
		},
	}
	for name, place := range places {
		for _, c := range []struct{ pages, layers, extents, length int }{
			{64 << 8, 3, 200, 16}, // 64 MiB
			{512 << 8, 3, 1000, 32},
			{512 << 8, 8, 5000, 1},
		} {
			b.Run(fmt.Sprintf("%s/%dMiB-%dx%dx%d", name, c.pages>>8, c.layers, c.extents, c.length), func(b *testing.B) {
				s := open(b, place(b))
				benchMerge(b, s, chain(b, s, c.pages, c.layers, c.extents, c.length))
			})
		}
	}
}

// chain makes a full snapshot and diffs that follow it, and returns them.
func chain(b *testing.B, s *snapshot.Store, pages, layers, extents, length int) []*snapshot.Manifest {
	b.Helper()
	all := []*snapshot.Manifest{put(b, s, "full", nil, pages, map[int][]byte{0: content(pages * page)})}
	data := content(length * page)
	for i := range layers {
		changes := map[int][]byte{}
		for range extents {
			changes[rand.IntN(pages-length)] = data
		}
		all = append(all, put(b, s, fmt.Sprint("diff", i), all[len(all)-1], pages, changes))
	}
	return all
}

func benchMerge(b *testing.B, s *snapshot.Store, all []*snapshot.Manifest) {
	b.Helper()
	last := all[len(all)-1]
	var merges, copies []time.Duration
	for i := 0; b.Loop(); i++ {
		for turn := range 2 { // neither is always first
			unix.Sync()
			start := time.Now()
			if (i+turn)%2 == 0 {
				_, err := s.Memory(b.Context(), last)
				must(b, err)
				merges = append(merges, time.Since(start))
				must(b, os.Remove(filepath.Join(s.Path(last.Name), "memory.whole")))
				continue
			}
			rawCopy(b, s, all)
			copies = append(copies, time.Since(start))
			must(b, os.Remove(filepath.Join(s.Dir(), "copy")))
		}
	}
	slices.Sort(merges)
	slices.Sort(copies)
	merge, plain := merges[len(merges)/2], copies[len(copies)/2]
	b.ReportMetric(float64(merge.Microseconds())/1000, "merge-ms")
	b.ReportMetric(float64(plain.Microseconds())/1000, "copy-ms")
	b.ReportMetric(float64(plain)/float64(merge), "x-copy")
	b.ReportMetric(0, "ns/op") // a round is both together
}

// rawCopy is the floor: the data, moved once, and made durable.
func rawCopy(b *testing.B, s *snapshot.Store, all []*snapshot.Manifest) {
	b.Helper()
	out, err := os.OpenFile(filepath.Join(s.Dir(), "copy"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	must(b, err)
	must(b, out.Truncate(all[0].Memory.Size))
	for _, m := range all {
		in, err := os.Open(filepath.Join(s.Path(m.Name), "memory"))
		must(b, err)
		for at := int64(0); ; {
			from, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
			if err != nil {
				break // nothing but a hole is left
			}
			at, err = unix.Seek(int(in.Fd()), from, unix.SEEK_HOLE)
			must(b, err)
			for to := from; from < at; {
				_, err := unix.CopyFileRange(int(in.Fd()), &from, int(out.Fd()), &to, int(at-from), 0)
				must(b, err)
			}
		}
		must(b, in.Close())
	}
	must(b, out.Sync())
	must(b, out.Close())
}

func BenchmarkExport(b *testing.B) {
	s := store(b)
	const pages = 256 << 8 // a quarter of it data
	put(b, s, "warm", nil, pages, map[int][]byte{pages / 2: content(pages / 4 * page)})
	b.SetBytes(pages * page)
	for b.Loop() {
		must(b, s.Export(b.Context(), "warm", io.Discard, snapshot.ExportOptions{}))
	}
}
