package hostnet_test

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// send has the host deal with a packet of the guest's that is addressed to the gateway.
func (g *guest) send(t *testing.T, packet []byte) {
	t.Helper()
	g.Send(t, nettest.Frame{To: g.gateway, From: g.MAC, Type: nettest.TypeIPv4, Payload: packet})
}

// datagram is one of the guest's.
func (g *guest) datagram(to, data string) []byte {
	return nettest.UDP(netip.AddrPortFrom(g.Addr, 40000), netip.MustParseAddrPort(to), []byte(data))
}

// counted returns what f adds to the counters of the network's rules.
func (s *scene) counted(t *testing.T, f func()) map[string]int {
	t.Helper()
	before := s.host.Counted(t, table)
	f()
	after := s.host.Counted(t, table)
	for comment, count := range before {
		after[comment] -= count
	}
	return after
}

func TestPacketsDoNotReachServicesOfTheHost(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{})
		// A port that is forwarded on loopback makes addresses of it routable on the bridge.
		g := s.join(t, n, forwarded("a", netconfig.Forward{HostPort: 8080, GuestPort: 80}))
		if got := s.host.Sysctl(t, "net/ipv4/conf/"+bridge+"/route_localnet"); got != "1" {
			t.Error("route_localnet is ", got)
		}
		any4, local := s.host.Serve(t, "udp", "0.0.0.0:53"), s.host.Serve(t, "udp", "127.0.0.1:54")
		s.host.Serve(t, "tcp", "0.0.0.0:22")
		s.router.Reach(t, "tcp", uplinkIP+":22")
		s.host.Reach(t, "udp", "127.0.0.1:54")
		s.host.Reach(t, "udp", gatewayIP+":53")
		control := len(any4.Peers()) + len(local.Peers())

		// Nor does it answer to ARP for other addresses than the gateway's.
		for _, ip := range []string{gatewayIP, uplinkIP, secondIP} {
			answers := s.host.Capture(t, g.tap.Name, func(p nettest.Packet) bool { return p.Outgoing && p.Type == nettest.TypeARP && p.Src.String() == ip })
			g.Send(t, nettest.Frame{To: nettest.Broadcast, From: g.MAC, Type: nettest.TypeARP, Payload: nettest.ARP{
				FromMAC: g.MAC, FromAddr: g.Addr, ToAddr: netip.MustParseAddr(ip),
			}.Bytes()})
			if answers.Stop(t); (answers.Count() > 0) != (ip == gatewayIP) {
				t.Errorf("%d answers to ARP for %s", answers.Count(), ip)
			}
		}
		g.Reach(t, "icmp", gatewayIP)
		for _, to := range []string{gatewayIP, uplinkIP, secondIP} {
			g.Block(t, "tcp", to+":22")
			g.Block(t, "udp", to+":53")
			if to != gatewayIP {
				g.Block(t, "icmp", to)
			}
		}
		for _, tt := range []struct{ to, counter string }{
			{"127.0.0.1:54", "loopback of the host"},
			{"127.0.0.1:8080", "loopback of the host"},
			{gatewayIP + ":53", "service of the host"},
			{uplinkIP + ":53", "service of the host"},
			{"172.30.0.255:53", "service of the host"},
			{"255.255.255.255:53", "service of the host"},
			{"224.0.0.1:53", "service of the host"},
		} {
			counts := s.counted(t, func() { g.send(t, g.datagram(tt.to, "x")) })
			if counts[tt.counter] != 1 {
				t.Errorf("to %s: counted %v, want 1 of %q", tt.to, counts, tt.counter)
			}
		}
		if got := len(any4.Peers()) + len(local.Peers()); got != control {
			t.Errorf("services of the host got %d datagrams of the guest: %v %v", got-control, any4.Peers(), local.Peers())
		}
	})
}

func TestPacketsReachJustThePortsThatAllowHostOpens(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{AllowHost: []netconfig.HostPort{{Port: 53}, {Protocol: netconfig.UDP, Port: 54}}})
		g := s.join(t, n, vm("a"))
		for _, port := range []string{"53", "54", "55"} {
			s.host.Serve(t, "tcp", "0.0.0.0:"+port)
			s.host.Serve(t, "udp", gatewayIP+":"+port)
			s.host.Serve(t, "udp", uplinkIP+":"+port)
		}
		for to, open := range map[[2]string]bool{
			{"tcp", gatewayIP + ":53"}: true, {"udp", gatewayIP + ":54"}: true,
			{"udp", gatewayIP + ":53"}: false, {"tcp", gatewayIP + ":54"}: false,
			{"tcp", gatewayIP + ":55"}: false, {"udp", gatewayIP + ":55"}: false,
			{"tcp", uplinkIP + ":53"}: false, {"udp", uplinkIP + ":54"}: false,
		} {
			if s.host.Reach(t, to[0], to[1]); open {
				g.Reach(t, to[0], to[1])
			} else {
				g.Block(t, to[0], to[1])
			}
		}
	})
}

func TestPacketsDoNotPassBetweenGuests(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{})
		a, b := s.join(t, n, vm("a")), s.join(t, n, vm("b"))
		server, tcp := b.Serve(t, "udp", "0.0.0.0:9"), b.Serve(t, "tcp", "0.0.0.0:9")
		b.Reach(t, "icmp", gatewayIP) // the host knows where b is

		fromA := func(p nettest.Packet) bool { return p.From == a.MAC || p.Src == a.Addr }
		sent := s.host.Capture(t, a.tap.Name, fromA)
		got := s.host.Capture(t, b.tap.Name, fromA)
		all := s.host.Capture(t, b.tap.Name, nil)
		a.Block(t, "icmp", b.Addr.String()) // asks by ARP
		a.Block(t, "tcp", b.Addr.String()+":9")
		packet := a.datagram(b.Addr.String()+":9", "x")
		for _, to := range []nettest.MAC{b.MAC, nettest.Broadcast, {1, 0, 0x5e, 0, 0, 1}} {
			a.Send(t, nettest.Frame{To: to, From: a.MAC, Type: nettest.TypeIPv4, Payload: packet})
			a.Send(t, nettest.Frame{To: to, From: a.MAC, Type: nettest.TypeARP, Payload: nettest.ARP{
				FromMAC: a.MAC, FromAddr: a.Addr, ToAddr: b.Addr,
			}.Bytes()})
		}
		counts := s.counted(t, func() {
			a.Send(t, nettest.Frame{To: a.gateway, From: a.MAC, Type: nettest.TypeIPv4, Payload: packet})
		})
		if counts["other guest"] != 1 {
			t.Errorf("by way of the gateway: counted %v, want 1 of the other guest", counts)
		}
		s.host.Reach(t, "udp", b.Addr.String()+":9")
		if peers := append(server.Peers(), tcp.Peers()...); len(peers) == 0 || peers[0].Addr().String() != gatewayIP {
			t.Errorf("b was reached by %v, want the host only", peers)
		}
		some(t, sent, "the guest on its own TAP")
		some(t, all, "the host on the other guest's TAP")
		none(t, got, "the guest on the other guest's TAP")
	})
}

func TestPacketsPassBetweenGuestsWithAllowPeers(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{AllowPeers: true})
		a, b := s.join(t, n, vm("a")), s.join(t, n, vm("b"))
		b.Serve(t, "tcp", "0.0.0.0:9")
		server := b.Serve(t, "udp", "0.0.0.0:9")
		if seen := a.Reach(t, "tcp", b.Addr.String()+":9"); seen.Addr() != a.Addr {
			t.Errorf("seen as %s, want %s", seen, a.Addr)
		}
		a.Reach(t, "icmp", b.Addr.String())
		before := len(server.Peers())
		a.send(t, a.datagram(b.Addr.String()+":9", "by way of the gateway")) // whose routing it is
		b.Flush(t)
		b.Reach(t, "udp", a.Serve(t, "udp", a.Addr.String()+":9").Addr().String())
		if len(server.Peers()) == before {
			t.Error("nothing came by way of the gateway")
		}
		counts := s.counted(t, func() { // who they are stays guarded
			a.send(t, nettest.UDP(netip.MustParseAddrPort("172.30.0.9:1"), netip.AddrPortFrom(b.Addr, 9), nil))
		})
		if counts["spoofed source"] != 1 {
			t.Errorf("a spoofed source: counted %v", counts)
		}
	})
}

func TestPacketsDoNotReachMetadataUnlessAllowed(t *testing.T) {
	t.Parallel()
	for name, allow := range map[string]bool{"default": false, "allowed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				s := newScene(t)
				g := s.join(t, s.network(t, netconfig.Config{AllowLinkLocal: allow}), vm("a"))
				linkLocal := netip.MustParsePrefix("169.254.0.0/16")
				control := s.host.Capture(t, "up0", func(p nettest.Packet) bool { return linkLocal.Contains(p.Dst) })
				s.host.Reach(t, "tcp", metadataIP+":80")
				some(t, control, "the host to metadata")
				out := s.host.Capture(t, "up0", func(p nettest.Packet) bool { return linkLocal.Contains(p.Dst) })
				if allow {
					g.Reach(t, "tcp", metadataIP+":80")
					g.Reach(t, "udp", metadataIP+":80")
					some(t, out, "the guest to metadata")
					return
				}
				for _, network := range []string{"tcp", "udp"} {
					g.Block(t, network, metadataIP+":80")
				}
				g.Block(t, "icmp", metadataIP)
				counts := s.counted(t, func() { g.send(t, g.datagram("169.254.0.1:53", "x")) })
				if counts["link-local, metadata"] != 1 {
					t.Errorf("counted %v", counts)
				}
				none(t, out, "the guest to metadata")
			})
		})
	}
}

// The host would greet a guest in IPv6 as its neighbour.
func TestPacketsFindNoAddressOfTheHostOnATAP(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{})
		g := s.join(t, n, vm("one"))
		addrs, err := s.host.Netlink().AddrList(s.host.Link(t, g.tap.Name), unix.AF_UNSPEC)
		must(t, err)
		if len(addrs) > 0 {
			t.Errorf("the TAP has %v", addrs)
		}
		if bridge, err := s.host.Netlink().AddrList(s.host.Link(t, "svbr0"), unix.AF_UNSPEC); err != nil || len(bridge) != 1 {
			t.Errorf("the bridge has %v, %v, want the gateway's address alone", bridge, err)
		}
	})
}
