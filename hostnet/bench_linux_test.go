package hostnet_test

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/ledger"
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
		"-test.benchtime="+flag.Lookup("test.benchtime").Value.String())
	cmd.Env = append(os.Environ(), benchmarkVar+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	return false
}

// BenchmarkAttach gives a VM its interface on a network that is up, with so many
// others on it, and takes it away again.
func BenchmarkAttach(b *testing.B) {
	if !apart(b) {
		return
	}
	for _, others := range []int{0, 100, 500} {
		b.Run(fmt.Sprint("beside/", others), func(b *testing.B) { benchmarkAttach(b, others) })
	}
}

// BenchmarkClones gives clones of a guest their interfaces, so many at once, beside
// plain ones for comparison, and takes them away again.
func BenchmarkClones(b *testing.B) {
	if !apart(b) {
		return
	}
	for _, n := range []int{1, 100} {
		for _, clones := range []bool{false, true} {
			b.Run(fmt.Sprintf("n=%d/clones=%v", n, clones), func(b *testing.B) { benchmarkClones(b, n, clones) })
		}
	}
}

func benchmarkClones(b *testing.B, n int, clones bool) {
	b.Helper()
	runtime, err := os.MkdirTemp("/dev/shm", "hostnet-") //nolint:usetesting // it has to be a tmpfs, as runtime directories are
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(runtime)
	net, err := hostnet.New(hostnet.Options{Dir: runtime, Config: config("svbr0", "10.200.0.0/16"), ReuseAddresses: true})
	if err == nil {
		err = net.Hold(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	ledgers, namespaces := make([]*ledger.Ledger, n), make([]*hostnet.Namespace, n)
	each := func(do func(i int) error) time.Duration {
		began := time.Now()
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				if err := do(i); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
		return time.Since(began)
	}
	var made, attached, released time.Duration
	for b.Loop() {
		for i := range n {
			if ledgers[i], err = ledger.Create(runtime, fmt.Sprint("vm-", i)); err != nil {
				b.Fatal(err)
			}
		}
		if clones {
			made += each(func(i int) (err error) {
				namespaces[i], err = hostnet.NewNamespace()
				return err
			})
		}
		attached += each(func(i int) error {
			r := hostnet.Request{VM: fmt.Sprint("vm-", i), Iface: "eth0"}
			if clones {
				r.Inside = &hostnet.Inside{Namespace: namespaces[i], MAC: "02:00:00:00:00:01", Addr: netip.MustParseAddr("10.200.255.1")}
			}
			_, err := net.Attach(b.Context(), ledgers[i], ledgers[i].Dir(), r)
			return err
		})
		released += each(func(i int) error {
			if clones {
				if err := namespaces[i].Close(); err != nil {
					return err
				}
			}
			return errors.Join(ledgers[i].Release(b.Context()), ledgers[i].Destroy())
		})
	}
	for what, took := range map[string]time.Duration{"namespaces": made, "attach": attached, "release": released} {
		b.ReportMetric(float64(took.Microseconds())/float64(b.N)/1000, "ms/"+what)
	}
	if err := net.Close(); err != nil {
		b.Error(err)
	}
}

func benchmarkAttach(b *testing.B, others int) {
	b.Helper()
	runtime, err := os.MkdirTemp("/dev/shm", "hostnet-") //nolint:usetesting // it has to be a tmpfs, as runtime directories are
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(runtime)
	c := config("svbr0", "10.200.0.0/16")
	n, err := hostnet.New(hostnet.Options{Dir: runtime, Config: c, ReuseAddresses: true})
	if err == nil {
		err = n.Hold(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	attach := func(id string) *ledger.Ledger {
		l, err := ledger.Create(runtime, id)
		if err == nil {
			_, err = n.Attach(b.Context(), l, l.Dir(), hostnet.Request{VM: id, Iface: "eth0"})
		}
		if err != nil {
			b.Fatal(err)
		}
		return l
	}
	release := func(l *ledger.Ledger) error { return errors.Join(l.Release(b.Context()), l.Destroy()) }
	var there []*ledger.Ledger
	for i := range others {
		there = append(there, attach(fmt.Sprint("other-", i)))
	}
	l, err := ledger.Create(runtime, "vm")
	if err != nil {
		b.Fatal(err)
	}
	var attached, released time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := n.Attach(b.Context(), l, l.Dir(), hostnet.Request{VM: "vm", Iface: "eth0"}); err != nil {
			b.Fatal(err)
		}
		attached += time.Since(began)
		began = time.Now()
		if err := l.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
		released += time.Since(began)
	}
	b.ReportMetric(float64(attached.Microseconds())/float64(b.N)/1000, "ms/attach")
	b.ReportMetric(float64(released.Microseconds())/float64(b.N)/1000, "ms/release")
	began := time.Now()
	var all sync.WaitGroup
	for _, l := range append(there, l) {
		all.Go(func() {
			if err := release(l); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	if others > 0 {
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/all-released")
	}
	if err := n.Close(); err != nil {
		b.Error(err)
	}
}
