package hostnet_test

import (
	"net/netip"
	"testing"

	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// Somebody on the uplink's network may send to guests by way of the host.
func TestPacketsFromOutsideReachNoGuestUnasked(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		g := s.join(t, s.network(t, netconfig.Config{}), vm("a"))
		g.Serve(t, "tcp", "0.0.0.0:9")
		g.Serve(t, "udp", g.Addr.String()+":9")
		s.lan.AddRoute(t, netconfig.DefaultSubnet, secondIP)
		s.host.Reach(t, "tcp", g.Addr.String()+":9")
		arrived := s.host.Capture(t, "up1", inSubnet)
		got := s.host.Capture(t, g.tap.Name, from(neighbour))
		control := s.host.Capture(t, g.tap.Name, from(gatewayIP))
		counts := s.counted(t, func() {
			s.lan.Block(t, "tcp", g.Addr.String()+":9")
			s.lan.Block(t, "udp", g.Addr.String()+":9")
			s.lan.Block(t, "icmp", g.Addr.String())
		})
		if counts["nobody asked for it"] < 3 {
			t.Errorf("counted %v", counts)
		}
		s.host.Reach(t, "udp", g.Addr.String()+":9")
		some(t, arrived, "the neighbour to the guest, on the LAN")
		some(t, control, "the host to the guest")
		none(t, got, "the neighbour to the guest")

		// Nor can it be a guest for the host.
		s.host.SetSysctl(t, "net/ipv4/conf/all/rp_filter", "0")
		s.host.SetSysctl(t, "net/ipv4/conf/up1/rp_filter", "0")
		s.lan.AddAddr(t, "lo", "172.30.0.77/32")
		server := s.host.Serve(t, "udp", secondIP+":9")
		s.lan.Reach(t, "udp", secondIP+":9")
		counts = s.counted(t, func() {
			s.lan.Probe(nettest.Probe{Network: "udp", To: secondIP + ":9", From: "172.30.0.77:0"})
		})
		if counts["guest's address from elsewhere"] == 0 {
			t.Errorf("counted %v", counts)
		}
		for _, peer := range server.Peers() {
			if peer.Addr().String() == "172.30.0.77" {
				t.Error("the host has heard the neighbour as ", peer)
			}
		}
	})
}

// Neither within a runtime directory, nor between those of two users of smartvm.
func TestPacketsDoNotPassBetweenNetworks(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		open := netconfig.Config{AllowPeers: true, AllowLinkLocal: true} // which is about its own guests
		here := s.join(t, s.network(t, open), vm("a"))
		elsewhere := *s
		elsewhere.dir = t.TempDir()
		for i, other := range []*scene{s, &elsewhere} {
			c := open
			c.Bridge, c.Subnet = []string{"svbr1", "svbr2"}[i], netip.MustParsePrefix([]string{"172.31.0.0/24", "172.31.1.0/24"}[i])
			n := other.network(t, c)
			there := other.join(t, n, forwarded("there", netconfig.Forward{HostIP: anywhere, HostPort: uint16(2000 + i), GuestPort: 80}))
			there.serve(t)
			port := []string{":2000", ":2001"}[i]
			s.lan.Reach(t, "tcp", secondIP+port)
			got := s.host.Capture(t, there.tap.Name, from(here.Addr.String()))
			all := s.host.Capture(t, there.tap.Name, nil)
			here.Block(t, "tcp", there.Addr.String()+":80")
			here.Block(t, "icmp", there.Addr.String())
			here.Block(t, "icmp", there.tap.Gateway.String())
			here.Block(t, "tcp", there.tap.Gateway.String()+port)
			here.Block(t, "tcp", gatewayIP+port)
			here.Block(t, "tcp", uplinkIP+port)
			there.Reach(t, "tcp", exampleIP+":80")
			some(t, all, "the other network's guest")
			none(t, got, "one network's guest at the other's")
		}
		here.Reach(t, "tcp", exampleIP+":80")
	})
}
