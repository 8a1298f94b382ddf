package netlinux_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netlinux"
)

// benchmarkVar is set in the process that has a network namespace of its own.
const benchmarkVar = "SMARTVM_BENCHMARK_ISOLATED"

// apart reports whether this process has a network namespace of its own; if not, it
// runs the benchmark in one that has.
func apart(b *testing.B) bool {
	b.Helper()
	hosttest.Need(b, hosttest.Root)
	if os.Getenv(benchmarkVar) != "" {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^$", "-test.bench=^"+b.Name()+"$",
		"-test.benchtime="+flag.Lookup("test.benchtime").Value.String(), "-test.cpuprofile="+flag.Lookup("test.cpuprofile").Value.String())
	cmd.Env = append(os.Environ(), benchmarkVar+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	must(b, cmd.Run())
	return false
}

// The numbers of a host: make n TAPs one after the other, delete them at once.
func BenchmarkTAPs(b *testing.B) {
	if !apart(b) {
		return
	}
	h := open(b)
	to := addBridge(b, h, "br0")
	for _, n := range []int{1, 100, 500} {
		b.Run(fmt.Sprint("make/", n), func(b *testing.B) { benchmarkTAPs(b, h, to, n, true) })
		b.Run(fmt.Sprint("delete/", n), func(b *testing.B) { benchmarkTAPs(b, h, to, n, false) })
	}
}

func benchmarkTAPs(b *testing.B, h *netlinux.Host, to, n int, making bool) {
	b.Helper()
	indexes := make([]int, n)
	b.StopTimer()
	timed := func(counts bool, f func()) {
		if counts {
			b.StartTimer()
			defer b.StopTimer()
		}
		f()
	}
	for range b.N {
		timed(making, func() {
			for i := range n {
				indexes[i] = addPort(b, h, fmt.Sprint("tap", i), to)
			}
		})
		timed(!making, func() {
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					if err := h.DeleteLink(b.Context(), fmt.Sprint("tap", i), indexes[i], mark); err != nil {
						b.Error(err)
					}
				})
			}
			all.Wait()
		})
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n)/1000, "ms/tap")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/op")
}
