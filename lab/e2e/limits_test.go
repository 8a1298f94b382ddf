package e2e_test

import (
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/vmconfig"
)

// A job of 256 KiB, or of 80 blocks, takes 7 s under its limit, however fast the host
// is: a bucket has an eighth of that, and is full at first. Not as long if a packet is
// larger than the bucket, since what it has too much does not count in full.
const (
	jobSize = 256 << 10
	atLeast = 3 * time.Second
)

var (
	bytesLimit = &firecracker.RateLimiter{Bandwidth: &firecracker.TokenBucket{Size: jobSize / 8, RefillTime: 1000}}
	opsLimit   = &firecracker.RateLimiter{Ops: &firecracker.TokenBucket{Size: 80 / 8, RefillTime: 1000}}
	noLimit    = &firecracker.RateLimiter{Bandwidth: &firecracker.TokenBucket{}, Ops: &firecracker.TokenBucket{}}
)

func TestRateLimitersSlowDownWhatTheyLimit(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		claims(t, "S5.1", "A limit of bandwidth slows down what is read from or written to a drive, or sent through an interface")
		claims(t, "S5.1", "A limit of operations slows down reads of small blocks")
		claims(t, "S4.6", "Limits of drives and interfaces are lifted while the guest runs, and others are set")
		host := nettest.Host(t)
		host.AddTAP(t, "tap0")
		host.AddAddr(t, "tap0", "192.0.2.1/24")
		const mtu = 9000 // few packets: each is a long way in an emulated machine
		must(t, host.Netlink().LinkSetMTU(host.Link(t, "tap0"), mtu))
		host.Up(t, "tap0")
		s := newSite(t, smartvm.Options{})
		config := s.config(baseimage.Squashfs)
		b, c, d := drive("reads", disk(t, "reads", 1)), drive("writes", disk(t, "writes", 1)), drive("blocks", disk(t, "blocks", 1))
		b.RateLimiter, c.RateLimiter, d.RateLimiter = bytesLimit, bytesLimit, opsLimit
		config.Drives = append(config.Drives, b, c, d)
		config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0", HostDevName: "tap0", TxRateLimiter: bytesLimit}}
		vm, g := s.boot(config)
		output(t, g, "ip addr add 192.0.2.2/24 dev eth0 && ip link set eth0 mtu 9000 up")
		client, err := vm.Client()
		must(t, err)

		jobs := []job{
			{"read", "dd if=/dev/vdb of=/dev/null bs=16k count=16 iflag=direct status=none"},
			{"write", "dd if=/dev/zero of=/dev/vdc bs=16k count=16 oflag=direct status=none"},
			{"read blocks", "dd if=/dev/vdd of=/dev/null bs=4k count=80 iflag=direct status=none"},
			{"send", "nc 192.0.2.1 " + serveConns(t, receive) + " -e sh -c 'dd if=/dev/zero bs=64k count=4 status=none; read'"},
		}
		receives := job{"receive", "nc 192.0.2.1 " + serveConns(t, send) + " >/dev/null"}
		limited := durations(t, g, jobs...)
		for _, id := range []string{"reads", "writes", "blocks"} {
			must(t, client.PatchDrive(patient(t), firecracker.DriveUpdate{DriveID: id, RateLimiter: noLimit}))
		}
		must(t, vm.UpdateNetworkInterface(patient(t), firecracker.NetworkInterfaceUpdate{IfaceID: "eth0", TxRateLimiter: noLimit, RxRateLimiter: bytesLimit}))
		maps.Copy(limited, durations(t, g, receives))
		must(t, vm.UpdateNetworkInterface(patient(t), firecracker.NetworkInterfaceUpdate{IfaceID: "eth0", RxRateLimiter: noLimit}))
		for _, j := range append(jobs, receives) {
			j.compare(t, g, limited[j.name])
		}
		shutDown(t, vm)
	})
}

func TestLimitOfADiskSlowsDownTheVMsThatHaveIt(t *testing.T) {
	claims(t, "S1.1", "A limit of what a VM reads from a disk of the host slows down its guest, in the control group of the VM")
	hosttest.Need(t, hosttest.Cgroup, hosttest.Loop)
	s := newSite(t, smartvm.Options{})
	config := s.config(baseimage.Squashfs)
	slow := drive("slow", hosttest.LoopDevice(t, disk(t, "slow", 1)))
	slow.IsReadOnly = true
	config.Drives = append(config.Drives, slow, drive("fast", disk(t, "fast", 1)))
	config.Limits = &vmconfig.Limits{IO: []vmconfig.IOLimit{{DriveID: "slow", ReadBytesPerSecond: jobSize / 5}}}
	vm, g := s.boot(config)
	limited := durations(t, g, job{"read the disk", "dd if=/dev/vdb of=/dev/null bs=16k count=16 iflag=direct status=none"})
	job{"read the disk", "dd if=/dev/vdc of=/dev/null bs=16k count=16 iflag=direct status=none"}.compare(t, g, limited["read the disk"])
	shutDown(t, vm)
}

// job is what a guest does, which takes a time.
type job struct{ name, command string }

// durations has a guest do all at the same time, and returns how long each took.
func durations(t *testing.T, g *guest.Guest, all ...job) map[string]time.Duration {
	t.Helper()
	var wait sync.WaitGroup
	var mu sync.Mutex
	took := make(map[string]time.Duration)
	for _, j := range all {
		began := time.Now()
		task, err := g.Start(patient(t), j.command)
		must(t, err)
		wait.Go(func() {
			result, err := task.Wait(patient(t))
			mu.Lock()
			defer mu.Unlock()
			if err != nil || result.Code != 0 {
				t.Errorf("to %s: %+v, %v", j.name, result, err)
			}
			took[j.name] = time.Since(began)
		})
	}
	wait.Wait()
	return took
}

// compare does a job again without its limit. It is at least four times as fast then,
// sooner or later: a host that is busy gets more tries.
func (j job) compare(t *testing.T, g *guest.Guest, limited time.Duration) {
	t.Helper()
	if limited < atLeast {
		t.Errorf("to %s takes %s with a limit, want %s at least", j.name, limited, atLeast)
	}
	var tries []time.Duration
	for range 10 {
		free := durations(t, g, j)[j.name]
		tries = append(tries, free)
		if 4*free < limited {
			break
		}
	}
	t.Logf("to %s: %s with the limit, %s without", j.name, limited, tries)
	if free := slices.Min(tries); 4*free >= limited {
		t.Errorf("to %s takes %s with a limit, and %s without", j.name, limited, free)
	}
}

func send(conn net.Conn) { _, _ = conn.Write(make([]byte, jobSize)) }

// receive answers when it has all.
func receive(conn net.Conn) {
	if _, err := io.CopyN(io.Discard, conn, jobSize); err == nil {
		_, _ = io.WriteString(conn, "\n")
	}
}

// serveConns serves one connection at a time until the test ends, and returns the port.
func serveConns(t *testing.T, each func(conn net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp4", "192.0.2.1:0")
	must(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		must(t, l.Close())
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			each(conn)
			_ = conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return port
}
