package stage

import (
	"math/rand/v2"
	"os"
	"slices"
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

// BenchmarkWays compares every way of moving data with staging itself, the
// choice included, for each pair of file systems. The metric "x-best" is the
// median of staging against that of the best way that the pair allows.
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
	spent := make(map[Method][]time.Duration)
	contestants := append([]way{{method: staged}, {method: Reflink}}, ways...)
	for b.Loop() {
		// What runs before leaves its dirty pages behind, so nobody is always first.
		rand.Shuffle(len(contestants), func(i, j int) {
			contestants[i], contestants[j] = contestants[j], contestants[i]
		})
		for _, c := range contestants {
			start := time.Now()
			err := copyBy(b, c, src, to)
			took := time.Since(start)
			if err == nil {
				spent[c.method] = append(spent[c.method], took)
			}
			_ = to.Remove("copy")
		}
	}
	best := time.Duration(1<<63 - 1)
	median := make(map[Method]time.Duration)
	for method, all := range spent {
		slices.Sort(all)
		median[method] = all[len(all)/2]
		if method != staged {
			best = min(best, median[method])
		}
		b.ReportMetric(float64(median[method].Microseconds())/1000, string(method)+"-ms")
	}
	b.ReportMetric(float64(median[staged])/float64(best), "x-best")
	b.ReportMetric(0, "ns/op") // a round is all of them together
}

// staged stands for the package as it is used.
const staged Method = "staged"

// copyBy makes one copy, by one way only or by staging.
func copyBy(b *testing.B, by way, src string, to *os.Root) error {
	b.Helper()
	if by.method == staged {
		place, err := new(Space).Choose(src, []*os.Root{to})
		if err != nil {
			return err
		}
		defer place.Release()
		_, err = place.Copy(b.Context(), "copy")
		return err
	}
	in, err := openSource(src)
	if err != nil {
		return err
	}
	defer in.close()
	out, err := to.OpenFile("copy", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	if by.method == Reflink {
		return in.reflink(out)
	}
	size, err := in.size()
	if err != nil {
		return err
	}
	if err := out.Truncate(size); err != nil {
		return err
	}
	m := &mover{in: in.file, out: out, ways: []way{by}}
	for e, err := range in.extents(size) {
		for err == nil && e.length > 0 {
			var n int64
			n, err = m.move(e.offset, min(e.length, chunkSize))
			e.offset, e.length = e.offset+n, e.length-n
		}
		if err != nil {
			return err
		}
	}
	return nil
}
