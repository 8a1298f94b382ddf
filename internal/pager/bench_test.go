package pager_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hello"
)

// benchPages are 256 MiB.
const benchPages = 64 << 10

// BenchmarkFault is a page that is asked for, one after the other.
func BenchmarkFault(b *testing.B) { benchmarkTouch(b, "") }

// BenchmarkPrefetched is the same when all pages are in the working set.
func BenchmarkPrefetched(b *testing.B) {
	s := memoryFile(b, small, benchPages)
	path := filepath.Join(s.dir, "memory.pages")
	m, v := s.stage(b, path, small, benchPages)
	_, err := m.order(b, "touch", benchPages)
	must(b, errors.Join(err, m.stdin.Close()))
	v.wantSuccess(b)
	b.ResetTimer()
	benchmarkSnapshot(b, s, path)
}

func benchmarkTouch(b *testing.B, path string) {
	b.Helper()
	benchmarkSnapshot(b, memoryFile(b, small, benchPages), path)
}

func benchmarkSnapshot(b *testing.B, s snapshot, path string) {
	b.Helper()
	var total time.Duration
	for b.Loop() {
		m, v := s.stage(b, path, small, benchPages)
		text, err := m.order(b, "touch", benchPages)
		must(b, errors.Join(err, m.stdin.Close()))
		ns, err := strconv.ParseInt(text, 10, 64)
		must(b, err)
		total += time.Duration(ns)
		v.wantSuccess(b)
	}
	per := float64(total.Nanoseconds()) / float64(b.N) / benchPages
	b.ReportMetric(per/1000, "µs/page")
	b.ReportMetric(1e9/per, "pages/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCopy is the floor: the same bytes are copied into fresh memory by one process.
func BenchmarkCopy(b *testing.B) {
	s := memoryFile(b, small, benchPages)
	f, err := os.Open(s.memory)
	must(b, err)
	defer f.Close()
	var total time.Duration
	for b.Loop() {
		from, err := unix.Mmap(int(f.Fd()), 0, small*benchPages, unix.PROT_READ, unix.MAP_PRIVATE)
		must(b, err)
		to, err := unix.Mmap(-1, 0, small*benchPages, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		must(b, err)
		must(b, unix.Madvise(to, unix.MADV_NOHUGEPAGE))
		began := time.Now()
		copy(to, from)
		total += time.Since(began)
		must(b, errors.Join(unix.Munmap(from), unix.Munmap(to)))
	}
	per := float64(total.Nanoseconds()) / float64(b.N) / benchPages
	b.ReportMetric(per/1000, "µs/page")
	b.ReportMetric(1e9/per, "pages/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRestore is the load of the hello guest, until it counts.
func BenchmarkRestore(b *testing.B) {
	first := boot(b, 128, hello.CountEach(time.Millisecond))
	first.count(b)
	s := first.freeze(b)
	path := filepath.Join(s.dir, "memory.pages")
	for _, kind := range []string{"File", "Uffd", "Prefetched"} {
		b.Run(kind, func(b *testing.B) {
			var load, counts time.Duration
			for b.Loop() {
				dir := shortDir(b)
				backend, at := "File", s.memory
				var v *server
				if kind != "File" {
					set := ""
					if kind == "Prefetched" {
						set = path
					}
					v = s.serve(b, dir, set)
					backend, at = "Uffd", v.socket
				}
				m := spawn(b, dir)
				began := time.Now()
				must(b, m.client.LoadSnapshot(patient(b), s.params(backend, at)))
				load += time.Since(began)
				m.count(b)
				counts += time.Since(began)
				must(b, m.process.Kill(patient(b)))
				if v != nil {
					v.wantSuccess(b)
				}
			}
			b.ReportMetric(float64(load.Microseconds())/float64(b.N), "µs/load")
			b.ReportMetric(float64(counts.Microseconds())/float64(b.N), "µs/count")
			b.ReportMetric(0, "ns/op")
		})
	}
}
