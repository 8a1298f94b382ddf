package hostnet_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// crashSite is a host on which a controller is killed.
type crashSite struct {
	host    *nettest.Namespace
	program string
	runtime string // of the controller
	before  nettest.Snapshot
}

const crashTunnel = "tun-crash"

// newCrashSite has things of others whose names look like ours, and a firewall that
// drops what it does not know.
func newCrashSite(t *testing.T, program string) *crashSite {
	t.Helper()
	s := &crashSite{
		host: nettest.Host(t), program: program, runtime: filepath.Join(t.TempDir(), "run"),
	}
	if err := os.Mkdir(s.runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	s.host.Uplink(t, "up0", "192.0.2.2/24")
	for _, l := range []netlink.Link{
		&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: crashTunnel}, Mode: netlink.TUNTAP_MODE_TUN},
		&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "svbr00", Alias: "smartvm"}},
		&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "svtsomebodyelse"[:15]}, Mode: netlink.TUNTAP_MODE_TAP},
	} {
		if err := s.host.Netlink().LinkAdd(l); err != nil {
			t.Fatal(err)
		}
		s.host.Up(t, l.Attrs().Name)
	}
	kernel, err := netlinux.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(kernel.Replace([]ruleset.Table{
		{Family: ruleset.IP, Name: "filter", Chains: []ruleset.Chain{{Name: "FORWARD", Hook: &ruleset.Hook{Type: "filter", Point: "forward", Drop: true}}}},
		{Family: ruleset.Inet, Name: "smartvm-svbr00", Comment: "smartvm of somebody else"},
		{Family: ruleset.IP, Name: "smartvm-svbr0", Comment: "in a family that smartvm has no table in"},
	}), kernel.Close()); err != nil {
		t.Fatal(err)
	}
	return s
}

// run lets the controller go as far as its nth point, and reports whether it was
// killed there and which point that was.
func (s *crashSite) run(t *testing.T, n int) (point string, killed bool) {
	t.Helper()
	return faulttest.Run(t, n, proc.Command{Path: s.program, Args: []string{"life", s.runtime, crashTunnel}})
}

// collect is what a manager's GC does: it releases the ledgers of VMs that are gone.
func (s *crashSite) collect(t *testing.T) {
	t.Helper()
	names, err := ledger.Names(s.runtime)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		l, err := ledger.Open(s.runtime, name, hostnet.Kinds())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Release(t.Context()), l.Destroy()); err != nil {
			t.Error(err)
		}
	}
	if _, err := ledger.Sweep(s.runtime); err != nil {
		t.Error(err)
	}
}

func (s *crashSite) gc(t *testing.T, dry bool) []hostnet.Garbage {
	t.Helper()
	garbage, err := hostnet.GC(t.Context(), s.runtime, dry)
	if err != nil {
		t.Error("gc: ", err)
	}
	return garbage
}

// left lists the files that are still there.
func (s *crashSite) left(t *testing.T) (left []string) {
	t.Helper()
	err := filepath.WalkDir(s.runtime, func(path string, _ fs.DirEntry, err error) error {
		switch path {
		case s.runtime, s.runtime + "/.networks", s.runtime + "/.networks/.holders", s.runtime + "/.networks/.lock", s.runtime + "/.networks/.owner":
		default:
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// recover does what the next process does, in one order or the other.
func (s *crashSite) recover(t *testing.T, vmsFirst bool) {
	t.Helper()
	if !vmsFirst {
		s.gc(t, false)
	}
	s.collect(t)
	listed, done := s.gc(t, true), s.gc(t, false)
	if diff := cmp.Diff(listed, done); diff != "" {
		t.Errorf("what gc would remove, and what it has removed:\n%s", diff)
	}
	if again := s.gc(t, true); len(again) > 0 {
		t.Errorf("gc has left %+v", again)
	}
}

// points kills the controller at each step-th of its points; whatever it was about,
// then all that is left is what was there before. It returns which points they were.
func (s *crashSite) points(t *testing.T, first, step int) (killed map[string]int) {
	t.Helper()
	s.before = s.host.Snapshot(t)
	killed = map[string]int{}
	for n := first; !t.Failed(); n += step {
		point, dead := s.run(t, n)
		if !dead {
			break
		}
		killed[point]++
		s.recover(t, n%2 == 0)
		s.host.Same(t, s.before)
		if left := s.left(t); len(left) > 0 {
			t.Errorf("left:\n%s", strings.Join(left, "\n"))
		}
		if t.Failed() {
			t.Fatalf("killed at point %d: %s", n, point)
		}
	}
	s.host.Same(t, s.before)
	return killed
}

// The kernel lets whoever removes links and tables wait, so that several hosts take
// hardly longer than one.
const crashShards = 4

func TestNetworkOfKilledProcessLeavesNothing(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	program := faulttest.Build(t, "testdata/controller")
	for first := range crashShards {
		t.Run(strconv.Itoa(first+1), func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				killed := newCrashSite(t, program).points(t, first+1, crashShards)
				t.Logf("killed at %v", killed)
				// If there are few, the loop has tested nothing.
				if len(killed) < 20 {
					t.Errorf("killed at %d different points", len(killed))
				}
			})
		})
	}
}

func TestNetworkOfKilledProcessLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	program := faulttest.Build(t, "testdata/controller")
	nettest.Isolated(t, func(t *testing.T) {
		s := newCrashSite(t, program)
		other := filepath.Join(t.TempDir(), "other")
		if err := os.Mkdir(other, 0o700); err != nil {
			t.Fatal(err)
		}
		n, err := hostnet.New(hostnet.Options{Dir: other, Config: netconfig.Config{Bridge: "svbr1", Subnet: netip.MustParsePrefix("10.10.0.0/24")}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.CreateTAP(t.Context(), "other", "eth0"); err != nil {
			t.Fatal(err)
		}
		killed := s.points(t, 3, crashShards)
		if len(killed) < 20 {
			t.Errorf("killed at %d different points", len(killed))
		}
		if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
			t.Errorf("the network of the other runtime directory is not as planned: %+v, %v", faults, err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if got := s.host.Sysctl(t, "net/ipv4/ip_forward"); got != "0" {
			t.Errorf("ip_forward is %s in the end", got)
		}
	})
}
