package hostnet_test

import (
	"os"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
)

// refusedSaying tries to join the network, which has to fail and to leave nothing.
func (s *ground) refusedSaying(t *testing.T, n *hostnet.Network, code errcode.Code, says string) {
	t.Helper()
	before := s.host.Snapshot(t)
	if err := s.refused(t, n, code); err != nil && (errcode.Of(err, "") != code || !strings.Contains(fullText(err), says)) {
		t.Errorf("attach: %v, want %s that says %q", fullText(err), code, says)
	}
	s.host.Same(t, before)
}

func TestTAPOfOthersIsNeverTouched(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		if err := os.MkdirAll(s.runtime+"/.networks", 0o700); err != nil {
			t.Fatal(err)
		}
		const owner = "0123456789ab"
		if err := os.WriteFile(s.runtime+"/.networks/.owner", []byte(owner), 0o600); err != nil {
			t.Fatal(err)
		}
		name := hostnet.TAPName(owner, "svbr0", "vm", "eth0", 0)
		s.host.AddTAP(t, name)
		before := s.host.Snapshot(t)
		v := s.vm(t, "vm")
		if tap := v.attach(t, s.network(t, hostnet.Options{})); tap.Name != hostnet.TAPName(owner, "svbr0", "vm", "eth0", 1) {
			t.Errorf("TAP %s", tap.Name)
		}
		v.gone(t)
		s.host.Same(t, before)
	})
}

func TestNetworkOfAnotherRuntimeDirectoryIsNamed(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		others, s := newGround(t), newGround(t)
		other := others.vm(t, "vm")
		other.attach(t, others.network(t, hostnet.Options{}))
		n := s.network(t, hostnet.Options{Config: config("", "10.1.0.0/24")})
		s.refusedSaying(t, n, errcode.BridgeSetupFailed, others.runtime[len(others.runtime)-10:])
		s.refusedSaying(t, s.network(t, hostnet.Options{Config: config("svbr1", "")}), errcode.InvalidSubnet, "svbr0")
		v := s.vm(t, "vm")
		v.attach(t, s.network(t, hostnet.Options{Config: config("svbr1", "10.1.0.0/24")}))
		v.gone(t)
		other.gone(t)
		s.clean(t)
	})
}

func TestNetworksOfOneRuntimeDirectoryDoNotOverlap(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Tool("ip"))
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		v := s.vm(t, "vm")
		v.attach(t, s.network(t, hostnet.Options{}))
		n := s.network(t, hostnet.Options{Config: config("svbr1", "172.30.0.0/16")})
		s.refusedSaying(t, n, errcode.InvalidSubnet, "svbr0")
		// Even if it is not in the kernel at the moment.
		ip(t, "link", "del", "svbr0")
		s.refusedSaying(t, n, errcode.InvalidSubnet, "network svbr0 has subnet 172.30.0.0/24")
		v.gone(t)
		s.clean(t)
	})
}

func TestForwardingThatSomebodyElseHasSwitchedOffStaysOff(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		s.host.SetSysctl(t, "net/ipv4/ip_forward", "1")
		v := s.vm(t, "vm")
		v.attach(t, s.network(t, hostnet.Options{}))
		s.host.SetSysctl(t, "net/ipv4/ip_forward", "0")
		v.gone(t)
		s.clean(t)
	})
}

func TestNetworkOfAnotherNamespaceIsNotTakenForThisOne(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	program := faulttest.Build(t, "testdata/controller")
	nettest.Isolated(t, func(t *testing.T) {
		hosttest.Need(t, hosttest.Tool("unshare"))
		s := newGround(t)
		elsewhere := s.userIn(t, program, "elsewhere", 1, "unshare", "--net")
		if lines := elsewhere.joined(); len(lines) != 1 {
			t.Fatalf("joined: %v", lines)
		}
		n := s.network(t, hostnet.Options{})
		s.refusedSaying(t, n, errcode.BridgeSetupFailed, "another network namespace")
		if err := elsewhere.leave(); err != nil {
			t.Fatal(err)
		}
		v := s.vm(t, "vm")
		v.attach(t, n)
		v.gone(t)
		s.clean(t)
	})
}
