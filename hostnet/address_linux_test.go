package hostnet_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// addresses attaches and releases guests, and returns the addresses that they had.
func (s *ground) addresses(t *testing.T, n *hostnet.Network, count int) (got []string) {
	t.Helper()
	for range count {
		v := s.vm(t, "passing")
		got = append(got, v.attach(t, n).Addr.Addr().String())
		v.gone(t)
	}
	return got
}

// refused attaches a guest, which has to fail with the code.
func (s *ground) refused(t *testing.T, n *hostnet.Network, code errcode.Code) error {
	t.Helper()
	v := s.vm(t, "refused")
	_, err := n.Attach(t.Context(), v, v.Dir(), hostnet.Request{VM: "refused", Iface: "eth0"})
	if !errors.Is(err, code) {
		t.Errorf("got %v, want %s", err, code)
	}
	v.gone(t)
	return err
}

func TestAddressesAreGivenInOrderAndOnce(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		small := netconfig.Config{Subnet: netip.MustParsePrefix("10.9.0.0/29")}
		n, reuser := s.network(t, hostnet.Options{Config: small}), s.network(t, hostnet.Options{Config: small, ReuseAddresses: true})
		try(t, n.Hold(t.Context()))
		want := []string{"10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6"}
		got := s.addresses(t, n, len(want))
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("got %v, want %v", got, want)
				break
			}
		}
		s.refused(t, n, errcode.IPExhausted)
		// Another value may give them again, from the first on, but for those in use.
		stays := s.vm(t, "stays")
		if addr := stays.attach(t, reuser).Addr.Addr().String(); addr != "10.9.0.2" {
			t.Errorf("the next one got %s", addr)
		}
		got = s.addresses(t, reuser, len(want)+1)
		for i, addr := range []string{"10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6", "10.9.0.3", "10.9.0.4"} {
			if got[i] != addr {
				t.Errorf("round robin gave %v", got)
				break
			}
		}
		stays.gone(t)
		try(t, n.Close())
		s.clean(t)
	})
}

func TestSmallestSubnetHasOneGuest(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{Config: netconfig.Config{Subnet: netip.MustParsePrefix("10.9.0.8/30")}, ReuseAddresses: true})
		only := s.vm(t, "only")
		if tap := only.attach(t, n); tap.Addr.String() != "10.9.0.10/30" || tap.Gateway.String() != "10.9.0.9" {
			t.Errorf("got %+v", tap)
		}
		s.refused(t, n, errcode.IPExhausted)
		only.gone(t)
		if got := s.addresses(t, n, 1); got[0] != "10.9.0.10" {
			t.Errorf("then got %v", got)
		}
		s.clean(t)
	})
}

// flow makes the kernel believe that an address has a connection.
func flow(t *testing.T, from string) {
	t.Helper()
	source, to := net.ParseIP(from).To4(), net.IPv4(192, 0, 2, 1).To4()
	try(t, netlink.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, &netlink.ConntrackFlow{
		FamilyType: unix.AF_INET, TimeOut: 300,
		Forward: netlink.IPTuple{SrcIP: source, DstIP: to, SrcPort: 1000, DstPort: 53, Protocol: unix.IPPROTO_UDP},
		Reverse: netlink.IPTuple{SrcIP: to, DstIP: source, SrcPort: 53, DstPort: 1000, Protocol: unix.IPPROTO_UDP},
	}))
}

func flows(t *testing.T) map[string]bool {
	t.Helper()
	all, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	try(t, err)
	got := map[string]bool{}
	for _, f := range all {
		got[f.Forward.SrcIP.String()] = true
	}
	return got
}

func TestGuestInheritsNoConnections(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{Config: netconfig.Config{Subnet: netip.MustParsePrefix("10.9.0.0/30")}, ReuseAddresses: true})
		try(t, n.Hold(t.Context()))
		flow(t, "192.0.2.9")
		s.addresses(t, n, 1)
		flow(t, "10.9.0.2")
		v := s.vm(t, "next")
		v.attach(t, n)
		if got := flows(t); got["10.9.0.2"] || !got["192.0.2.9"] {
			t.Errorf("connections when the address is given again: %v", got)
		}
		flow(t, "10.9.0.2")
		v.gone(t)
		try(t, n.Close())
		if got := flows(t); got["10.9.0.2"] || !got["192.0.2.9"] {
			t.Errorf("connections when the network is gone: %v", got)
		}
		s.clean(t)
	})
}

func TestConnectionsToForwardedPortsEndWithTheGuest(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		n := s.network(t, hostnet.Options{})
		try(t, n.Hold(t.Context()))
		v := s.vm(t, "served")
		_, err := n.Attach(t.Context(), v, v.Dir(), hostnet.Request{VM: "served", Iface: "eth0", Forwards: []netconfig.Forward{{HostPort: 5353, GuestPort: 53, Protocol: netconfig.UDP}}})
		try(t, err)
		flow(t, "172.30.0.2")
		v.gone(t)
		if got := flows(t); got["172.30.0.2"] {
			t.Errorf("connections: %v", got)
		}
		try(t, n.Close())
		s.clean(t)
	})
}
