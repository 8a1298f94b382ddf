package stage

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"
)

// benchFS makes the file systems to copy between, by name.
func benchFS(b *testing.B, kind string) *os.Root {
	b.Helper()
	switch kind {
	case "tmpfs":
		return tmpfs(b, "2g")
	case "host":
		return openRoot(b, b.TempDir())
	default:
		return onDisk(b, kind, 4<<30)
	}
}

// sparseExtents is the layout of a small root file system: 80% holes.
func sparseExtents(size int64) []extent {
	const mib = 1 << 20
	var data []extent
	for at := int64(0); at < size; at += 5 * mib {
		data = append(data, extent{at, mib})
	}
	return data
}

// BenchmarkWays compares every way of moving data, and staging itself, for each
// pair of file systems in interleaved rounds. The metric "x-best" is the mean
// against the fastest of the ways that the pair allows.
func BenchmarkWays(b *testing.B) {
	const size = 256 << 20
	for _, pair := range [][2]string{
		{"host", "tmpfs"},
		{"tmpfs", "tmpfs"},
		{"host", "host"},
		{"tmpfs", "host"},
		{"ext4", "ext4"},
		{"xfs", "xfs"},
		{"btrfs", "btrfs"},
		{"xfs", "tmpfs"},
	} {
		b.Run(pair[0]+"-"+pair[1], func(b *testing.B) {
			from := benchFS(b, pair[0])
			to := from
			if pair[0] != pair[1] {
				to = benchFS(b, pair[1])
			}
			src := write(b, from, "src", size, sparseExtents(size)...)
			comparePair(b, src, to)
		})
	}
}

func comparePair(b *testing.B, src string, to *os.Root) {
	b.Helper()
	spent := make(map[Method]time.Duration)
	unable := make(map[Method]bool)
	var staged time.Duration
	for b.Loop() {
		for _, way := range append(ways, way{method: Reflink}) {
			if unable[way.method] {
				continue
			}
			took, err := copyBy(b, way, src, to)
			unable[way.method] = err != nil
			spent[way.method] += took
		}
		place, err := new(Space).Choose(src, []*os.Root{to})
		if err != nil {
			b.Fatal(err)
		}
		result, err := place.Copy(b.Context(), "copy")
		if err != nil {
			b.Fatal(err)
		}
		place.Release()
		staged += result.Duration
		if err := to.Remove("copy"); err != nil {
			b.Fatal(err)
		}
	}
	best := time.Duration(1<<63 - 1)
	for method, took := range spent {
		if !unable[method] {
			best = min(best, took)
			b.ReportMetric(float64(took.Microseconds())/float64(b.N)/1000, fmt.Sprintf("%s-ms", method))
		}
	}
	b.ReportMetric(float64(staged)/float64(best), "x-best")
	b.ReportMetric(0, "ns/op") // a round is all of them together
}

// copyBy makes one copy by one way only.
func copyBy(b *testing.B, by way, src string, to *os.Root) (time.Duration, error) {
	b.Helper()
	in, err := openSource(src)
	if err != nil {
		b.Fatal(err)
	}
	defer in.close()
	start := time.Now()
	out, err := to.OpenFile("way", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = out.Close()
		_ = to.Remove("way")
	}()
	if by.method == Reflink {
		err := in.reflink(out)
		return time.Since(start), err
	}
	size, err := in.file.Seek(0, io.SeekEnd)
	if err != nil {
		b.Fatal(err)
	}
	if err := out.Truncate(size); err != nil {
		b.Fatal(err)
	}
	m := &mover{in: in.file, out: out, ways: []way{by}}
	for e, err := range in.extents(size) {
		for err == nil && e.length > 0 {
			var n int64
			n, err = m.move(e.offset, min(e.length, chunkSize))
			e.offset += n
			e.length -= n
		}
		if err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
