package hostnet_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

func deny() *netconfig.Policy { return &netconfig.Policy{Default: netconfig.Deny} }

func TestSecondUserTakesWhatIsThereOrIsRefused(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		first := s.vm(t, "first")
		first.attach(t, s.network(t, hostnet.Options{Config: netconfig.Config{
			Subnet: netip.MustParsePrefix("10.5.0.0/24"), Egress: deny(), DNS: []netip.Addr{netip.MustParseAddr("9.9.9.9")}, MTU: 1400,
		}}))
		for _, tt := range []struct {
			config netconfig.Config
			code   errcode.Code
		}{
			{netconfig.Config{Subnet: netip.MustParsePrefix("10.6.0.0/24")}, errcode.InvalidSubnet},
			{netconfig.Config{Egress: &netconfig.Policy{}}, errcode.InvalidFirewallConfig},
			{netconfig.Config{MTU: 1500}, errcode.BridgeSetupFailed},
			{netconfig.Config{DNS: []netip.Addr{netip.MustParseAddr("1.1.1.1")}}, errcode.BridgeSetupFailed},
			{netconfig.Config{AllowPeers: true}, errcode.BridgeSetupFailed},
			{netconfig.Config{AllowHost: []netconfig.HostPort{{Port: 53}}}, errcode.BridgeSetupFailed},
			{netconfig.Config{AllowLinkLocal: true}, errcode.BridgeSetupFailed},
			{netconfig.Config{WireGuard: &netconfig.WireGuard{Existing: "wg0"}}, errcode.InvalidWireGuardConfig},
		} {
			s.refusedSaying(t, s.network(t, hostnet.Options{Config: tt.config}), tt.code, "vm first")
		}
		for i, c := range []netconfig.Config{
			{},
			{Subnet: netip.MustParsePrefix("10.5.0.9/24"), MTU: 1400, Egress: &netconfig.Policy{Default: netconfig.Deny, Rules: []netconfig.Rule{}}},
		} {
			v := s.vm(t, "second-"+string(rune('a'+i)))
			tap := v.attach(t, s.network(t, hostnet.Options{Config: c}))
			if !strings.HasPrefix(tap.Addr.String(), "10.5.0.") || tap.MTU != 1400 || len(tap.DNS) != 1 || tap.DNS[0].String() != "9.9.9.9" {
				t.Errorf("TAP %+v", tap)
			}
			v.gone(t)
		}
		first.gone(t)
		s.clean(t)
	})
}

func TestPortIsForwardedToOneGuestOnly(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		a, b := s.network(t, hostnet.Options{}), s.network(t, hostnet.Options{Config: config("svbr1", "10.1.0.0/24")})
		forward := func(n *hostnet.Network, id string, f netconfig.Forward) (*tenant, error) {
			v := s.vm(t, id)
			_, err := n.Attach(t.Context(), v, v.Dir(), hostnet.Request{VM: id, Iface: "eth0", Forwards: []netconfig.Forward{f}})
			return v, err
		}
		first, err := forward(a, "first", netconfig.Forward{HostPort: 8080, GuestPort: 80})
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp4", "127.0.0.1:9090")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		everywhere := netip.IPv4Unspecified()
		for _, tt := range []struct {
			network *hostnet.Network
			forward netconfig.Forward
			code    errcode.Code
			says    string
		}{
			{a, netconfig.Forward{HostPort: 8080, GuestPort: 81}, errcode.PortInUse, "vm first"},
			{b, netconfig.Forward{HostPort: 8080, GuestPort: 81, HostIP: everywhere}, errcode.PortInUse, "vm first"},
			{b, netconfig.Forward{HostPort: 9090, GuestPort: 81}, errcode.PortInUse, "program"},
			{b, netconfig.Forward{HostPort: 9090, GuestPort: 81, HostIP: everywhere}, errcode.PortInUse, "program"},
			{b, netconfig.Forward{HostPort: 7070, GuestPort: 81, HostIP: netip.MustParseAddr("192.0.2.1")}, errcode.InvalidConfig, "not an address"},
			{b, netconfig.Forward{HostPort: 0, GuestPort: 81}, errcode.InvalidConfig, "host_port"},
		} {
			v, err := forward(tt.network, "second", tt.forward)
			if errcode.Of(err, "") != tt.code || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v: %v, want %s that says %q", tt.forward, err, tt.code, tt.says)
			}
			v.gone(t)
		}
		udp, err := forward(b, "udp", netconfig.Forward{HostPort: 9090, GuestPort: 81, Protocol: netconfig.UDP})
		if err != nil {
			t.Error(err)
		}
		udp.gone(t)
		first.gone(t)
		s.clean(t)
	})
}

func TestMACAddressIsUniqueOnABridge(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		attach := func(id, iface, mac string) (*hostnet.TAP, *tenant, error) {
			v := s.vm(t, id)
			tap, err := n.Attach(t.Context(), v, v.Dir(), hostnet.Request{VM: "same", Iface: iface, MAC: mac})
			return tap, v, err
		}
		first, v1, err := attach("one", "eth0", "")
		if err != nil {
			t.Fatal(err)
		}
		second, v2, err := attach("two", "eth0", "")
		if err != nil {
			t.Fatal(err)
		}
		if first.MAC == second.MAC || first.Name == second.Name {
			t.Errorf("two interfaces of one VM and name: %+v, %+v", first, second)
		}
		for _, mac := range []string{first.MAC, "06:00:ac", "01:00:5e:00:00:01", "02:00:00:00:00:00:00:01"} {
			_, v, err := attach("three", "eth1", mac)
			if !errors.Is(err, errcode.InvalidConfig) {
				t.Errorf("MAC %s: %v, want INVALID_CONFIG", mac, err)
			}
			v.gone(t)
		}
		v1.gone(t)
		again, v4, err := attach("four", "eth0", "")
		if err != nil || again.MAC != first.MAC || again.Name != first.Name {
			t.Errorf("the same interface again is %+v, %v, and was %+v", again, err, first)
		}
		given, v5, err := attach("five", "eth0", "06:00:AC:10:00:02")
		if err != nil || given.MAC != "06:00:ac:10:00:02" {
			t.Errorf("given MAC: %+v, %v", given, err)
		}
		v2.gone(t)
		v4.gone(t)
		v5.gone(t)
		s.clean(t)
	})
}

func TestPolicyIsReplacedForAllByAnyProcess(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		opts := hostnet.Options{Config: netconfig.Config{Egress: deny()}}
		n, other := s.network(t, opts), s.network(t, hostnet.Options{})
		if err := n.SetEgress(t.Context(), nil); !errors.Is(err, errcode.NetworkNotFound) {
			t.Errorf("without a network: %v", err)
		}
		v := s.vm(t, "first")
		own := deny()
		own.Rules = []netconfig.Rule{{Action: netconfig.Allow, Protocol: netconfig.UDP}}
		if _, err := n.Attach(t.Context(), v, v.Dir(), hostnet.Request{VM: "first", Iface: "eth0", Egress: own}); err != nil {
			t.Fatal(err)
		}
		replaced := &netconfig.Policy{Rules: []netconfig.Rule{
			{Action: netconfig.Deny, To: netconfig.Destination{Prefix: netip.MustParsePrefix("10.0.0.0/8")}},
			{Action: netconfig.Deny, Protocol: netconfig.TCP, Ports: []netconfig.PortRange{{First: 25, Last: 25}}},
		}}
		if err := other.SetEgress(t.Context(), &netconfig.Policy{Default: "perhaps"}); !errors.Is(err, errcode.InvalidFirewallConfig) {
			t.Errorf("a policy that is none: %v", err)
		}
		if err := other.SetEgress(t.Context(), replaced); err != nil {
			t.Fatal(err)
		}
		policy, vms, err := n.Egress(t.Context())
		if err != nil || policy == nil || len(policy.Rules) != 2 || policy.Default != netconfig.Allow || len(vms) != 1 || vms[0].VM != "first" || len(vms[0].Rules) != 1 {
			t.Errorf("egress %+v, %+v, %v", policy, vms, err)
		}
		if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
			t.Errorf("faults %s, %v", textOf(faults), err)
		}
		// The value that has made the network goes on, although it asked for another policy.
		second := s.vm(t, "second")
		second.attach(t, n)
		second.gone(t)
		// Who joins now and asks for the first one is told that it is another.
		s.refusedSaying(t, s.network(t, opts), errcode.InvalidFirewallConfig, "vm first")
		if err := other.SetEgress(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if policy, _, err := n.Egress(t.Context()); err != nil || policy != nil {
			t.Errorf("egress %+v, %v", policy, err)
		}
		v.gone(t)
		s.clean(t)
	})
}

// Who replaces tables must not lose the rules of a guest that is just joining.
func TestGuestsJoinAndLeaveWhilePoliciesAreReplaced(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n, other := s.network(t, hostnet.Options{}), s.network(t, hostnet.Options{})
		if err := n.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		var joining, replacing sync.WaitGroup
		var done atomic.Bool
		replacing.Go(func() {
			for !done.Load() {
				if err := errors.Join(other.SetEgress(t.Context(), deny()), other.Repair(t.Context()), other.SetEgress(t.Context(), nil)); err != nil {
					t.Error(err)
				}
			}
		})
		vms := make([]*tenant, 30)
		for i := range vms {
			vms[i] = s.vm(t, "vm"+string(rune('A'+i)))
			joining.Go(func() {
				r := hostnet.Request{VM: vms[i].id, Iface: "eth0", Egress: deny()}
				if _, err := n.Attach(t.Context(), vms[i], vms[i].Dir(), r); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					if err := vms[i].Release(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		joining.Wait()
		done.Store(true)
		replacing.Wait()
		if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
			t.Errorf("faults %s, %v", textOf(faults), err)
		}
		for _, v := range vms {
			v.gone(t)
		}
		if err := n.Cleanup(t.Context()); err != nil {
			t.Error(err)
		}
		s.clean(t)
	})
}

func TestTAPsAndHoldOfAValueGoWithIt(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		if err := errors.Join(n.Hold(t.Context()), n.Hold(t.Context())); err != nil {
			t.Fatal(err)
		}
		a, err := n.CreateTAP(t.Context(), "vm", "eth0")
		if err != nil {
			t.Fatal(err)
		}
		b, err := n.CreateTAP(t.Context(), "vm", "eth0")
		if err != nil || a.Name == b.Name {
			t.Fatalf("TAPs %+v, %+v, %v", a, b, err)
		}
		if err := n.DeleteTAP(t.Context(), a.Name); err != nil || s.hasLink(a.Name) {
			t.Errorf("delete: %v", err)
		}
		if err := n.DeleteTAP(t.Context(), a.Name); !errors.Is(err, errcode.InvalidInterfaceName) {
			t.Errorf("delete again: %v", err)
		}
		if networks, err := hostnet.List(t.Context(), s.runtime); err != nil || len(networks) != 1 || networks[0].Holders != 1 || len(networks[0].Guests) != 1 {
			t.Errorf("list: %+v, %v", networks, err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		s.clean(t)
		if err := n.Hold(t.Context()); !errors.Is(err, errcode.InvalidState) {
			t.Errorf("hold after close: %v", err)
		}
	})
}

func TestVMCanBeReleasedAfterItsNetworkValueIsClosed(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		v := s.vm(t, "vm")
		v.attach(t, n)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		v.gone(t)
		s.clean(t)
	})
}

func TestWaitForTheLockEndsWithTheContext(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		first := s.vm(t, "first")
		first.attach(t, n)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		waits := s.vm(t, "waits")
		var err error
		// While something is recorded, the lock is held.
		_, _ = n.Attach(t.Context(), recorder(func() {
			_, err = n.Attach(ctx, waits, waits.Dir(), hostnet.Request{VM: "waits", Iface: "eth0"})
		}), "", hostnet.Request{VM: "holds", Iface: "eth0"})
		if !errors.Is(err, errcode.Cancelled) {
			t.Errorf("attach: %v, want CANCELLED", err)
		}
		waits.gone(t)
		first.gone(t)
		s.clean(t)
	})
}

// recorder is one that does something and records nothing.
type recorder func()

func (r recorder) Make(ledger.Resource, func() error) error {
	r()
	return errors.New("not recorded")
}

func TestLeaseWithoutRecordIsGarbage(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		lost, keeps := s.vm(t, "lost"), s.vm(t, "keeps")
		tap := lost.attach(t, n)
		keeps.attach(t, n)
		// Its ledger is replaced by one of the same name, which does not know of it.
		if err := os.RemoveAll(lost.Dir()); err != nil {
			t.Fatal(err)
		}
		again := s.vm(t, "lost")
		second := again.attach(t, n)
		for _, dry := range []bool{true, false} {
			found, err := hostnet.GC(t.Context(), s.runtime, dry)
			if err != nil || len(found) != 1 || found[0].Reason != "vm lost is gone" || !strings.Contains(found[0].Resources[0], tap.Name) {
				t.Errorf("gc: %+v, %v", found, err)
			}
		}
		if s.hasLink(tap.Name) || !s.hasLink(second.Name) {
			t.Error("the wrong TAP is gone")
		}
		if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
			t.Errorf("faults %s, %v", textOf(faults), err)
		}
		again.gone(t)
		keeps.gone(t)
		s.clean(t)
	})
}

// The address of a record may be another guest's by now.
func TestReleaseRemovesNoLeaseOfOthers(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		old, keeps := s.vm(t, "old"), s.vm(t, "keeps")
		first := old.attach(t, n)
		keeps.attach(t, n)
		dir := s.runtime + "/.networks/svbr0/"
		for _, name := range []string{"leases/" + first.Addr.Addr().String(), "names/" + first.MAC, "names/" + first.Name, "cursor"} {
			try(t, os.Remove(dir+name))
		}
		another := s.vm(t, "another")
		if tap := another.attach(t, s.network(t, hostnet.Options{})); tap.Addr != first.Addr {
			t.Fatalf("the address is %v, want %v", tap.Addr, first.Addr)
		}
		old.gone(t)
		if s.hasLink(first.Name) {
			t.Error("the old TAP is there")
		}
		s.intact(t, 2)
		another.gone(t)
		keeps.gone(t)
		s.clean(t)
	})
}

func TestFilesOfNetworksAreClosedToOthers(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{Config: netconfig.Config{Egress: deny()}})
		v := s.vm(t, "vm")
		v.attach(t, n)
		if err := n.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		files := 0
		err := filepath.WalkDir(s.runtime, func(path string, e os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			files++
			return err
		})
		if err != nil || files < 10 {
			t.Errorf("%d files, %v", files, err)
		}
		v.gone(t)
		if err := n.Cleanup(t.Context()); err != nil {
			t.Error(err)
		}
		s.clean(t)
	})
}

func TestNetworkLeavesNoDescriptorAndNoGoroutine(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		hosttest.Residue(t)
		s := newGround(t)
		n, err := hostnet.New(hostnet.Options{Dir: s.runtime})
		if err != nil {
			t.Fatal(err)
		}
		v := s.vm(t, "vm")
		v.attach(t, n)
		if _, err := n.CreateTAP(t.Context(), "other", "eth0"); err != nil {
			t.Error(err)
		}
		if _, err := n.Check(t.Context()); err != nil {
			t.Error(err)
		}
		s.refusedSaying(t, s.network(t, hostnet.Options{Config: config("svbr1", "")}), errcode.InvalidSubnet, "")
		v.gone(t)
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Whoever was killed while it replaced a policy has stored it already.
func TestPolicyThatIsStoredIsPutInForceWhenItIsAskedForAgain(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		v := s.vm(t, "vm")
		v.attach(t, n)
		try(t, n.SetEgress(t.Context(), deny()))
		s.host.FlushRules(t)
		try(t, n.SetEgress(t.Context(), deny()))
		policy, _, err := n.Egress(t.Context())
		if err != nil || policy == nil || policy.Default != netconfig.Deny {
			t.Errorf("egress %+v, %v", policy, err)
		}
		v.gone(t)
		s.clean(t)
	})
}
