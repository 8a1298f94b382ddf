package hostnet_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

const (
	tunnelIP   = "10.99.0.2" // of the host, on wg0
	exitIP     = "192.88.99.2"
	endpointIP = exitIP
)

// tunnel is a WireGuard tunnel of the host that somebody else manages, with its far end.
type tunnel struct {
	*nettest.WireGuard

	t    *testing.T
	s    *scene
	mtu  int
	exit *nettest.Exit
}

// newTunnel makes wg0, whose far end is behind the internet.
func (s *scene) newTunnel(t *testing.T, mtu int) *tunnel {
	t.Helper()
	exit := nettest.NewExit(t, s.internet, exitIP+"/24", "10.99.0.1/24")
	w := &tunnel{t: t, s: s, mtu: mtu, exit: exit}
	w.open()
	return w
}

// open makes wg0, anew after it was closed.
func (w *tunnel) open() {
	w.t.Helper()
	w.WireGuard = w.s.host.UserspaceWireGuard(w.t, nettest.WireGuardConfig{Name: "wg0", Addrs: []string{tunnelIP + "/24"}, MTU: w.mtu})
	w.exit.Join(w.t, w.WireGuard)
}

// throughTunnel is a network whose guests' traffic takes wg0.
func throughTunnel(change func(*netconfig.WireGuard)) netconfig.Config {
	w := &netconfig.WireGuard{Existing: "wg0"}
	if change != nil {
		change(w)
	}
	return netconfig.Config{WireGuard: w}
}

// encrypted matches the packets of the tunnel itself.
func encrypted(p nettest.Packet) bool {
	return p.Protocol == 17 && (p.Dst.String() == endpointIP && p.DstPort == 51820 || p.Src.String() == endpointIP && p.SrcPort == 51820)
}

// S11.1.
func TestPacketsOfGuestsTakeTheTunnelAndThoseOfTheHostDoNot(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		w := s.newTunnel(t, 0)
		n := s.network(t, throughTunnel(nil))
		g := s.join(t, n, vm("a"))
		inTunnel := s.host.Capture(t, "wg0", from(tunnelIP))
		plain := []*nettest.Capture{}
		for _, iface := range []string{"up0", "up1"} {
			plain = append(plain, s.host.Capture(t, iface, func(p nettest.Packet) bool { return p.Type == nettest.TypeIPv4 && !encrypted(p) }))
		}
		hidden := s.host.Capture(t, "up0", encrypted)
		for _, network := range []string{"tcp", "udp"} {
			for _, to := range []string{exampleIP + ":80", resolverIP + ":80", privateIP + ":81"} {
				if seen := g.Reach(t, network, to); seen.Addr() != w.exit.Addr {
					t.Errorf("%s %s: seen as %s, want %s, the exit of the tunnel", network, to, seen, w.exit.Addr)
				}
			}
		}
		g.Reach(t, "icmp", exampleIP)
		g.Reach(t, "icmp", gatewayIP)
		g.Block(t, "tcp", metadataIP+":80")
		some(t, inTunnel, "the guest in the tunnel")
		some(t, hidden, "the tunnel on the uplink")
		for _, c := range plain {
			none(t, c, "something else than the tunnel, on an uplink")
		}
		own := s.host.Capture(t, "wg0", nil)
		if seen := s.host.Reach(t, "tcp", exampleIP+":80"); seen.Addr().String() != uplinkIP {
			t.Errorf("the host itself: seen as %s, want %s", seen, uplinkIP)
		}
		none(t, own, "the host in the tunnel")
		// Nobody gets in by the tunnel unasked.
		g.Serve(t, "tcp", "0.0.0.0:9")
		w.exit.AddRoute(t, "172.30.0.0/24", tunnelIP)
		w.exit.Block(t, "tcp", g.Addr.String()+":9")
	})
}

// S11.1: what the host's reverse path filter would drop is let in.
func TestPacketsReturnFromTheTunnelWithAStrictReversePathFilter(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		s.host.SetSysctl(t, "net/ipv4/conf/all/rp_filter", "1")
		s.newTunnel(t, 0)
		s.host.SetSysctl(t, "net/ipv4/conf/wg0/rp_filter", "1")
		before := s.host.Snapshot(t)
		n := s.network(t, throughTunnel(nil))
		g := s.join(t, n, vm("a"))
		for _, network := range []string{"tcp", "udp", "icmp"} {
			to := exampleIP + ":80"
			if network == "icmp" {
				to = exampleIP
			}
			g.Reach(t, network, to)
		}
		g.Close()
		g.nic.release(t)
		must(t, n.Close())
		s.host.Same(t, before)
	})
}

func TestPacketsFitTheTunnel(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		s.newTunnel(t, 1300)
		g := s.join(t, s.network(t, throughTunnel(nil)), vm("a"))
		if g.tap.MTU != 1300 || s.host.Link(t, g.tap.Name).Attrs().MTU != 1300 {
			t.Errorf("MTU told %d, of the TAP %d, want 1300", g.tap.MTU, s.host.Link(t, g.tap.Name).Attrs().MTU)
		}
		must(t, g.Netlink().LinkSetMTU(g.Link(t, "eth0"), 1500)) // a guest that does not care
		out := s.host.Capture(t, "wg0", func(p nettest.Packet) bool { return p.Outgoing && mss(p) != 0 })
		in := s.host.Capture(t, g.tap.Name, func(p nettest.Packet) bool { return p.Outgoing && mss(p) != 0 })
		got := g.Probe(nettest.Probe{Network: "tcp", To: exampleIP + ":80", Size: 100_000, Timeout: nettest.Long})
		if got.Verdict != nettest.Reached {
			t.Error("100 kB: ", got)
		}
		for what, c := range map[string]*nettest.Capture{"into the tunnel": out, "to the guest": in} {
			if packets := c.Stop(t); len(packets) == 0 || mss(packets[0]) != 1260 {
				t.Errorf("%s: segments in %d packets, want those of 1260: %+v", what, len(packets), packets)
			}
		}
	})
}

// S11.3: routeAllVmTraffic is false.
func TestPacketsKeepTheDefaultRouteWhenAsked(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		w := s.newTunnel(t, 0)
		g := s.join(t, s.network(t, throughTunnel(func(w *netconfig.WireGuard) { w.KeepDefaultRoute = true })), vm("a"))
		if seen := g.Reach(t, "tcp", exampleIP+":80"); seen.Addr().String() != uplinkIP {
			t.Errorf("seen as %s, want %s", seen, uplinkIP)
		}
		// What the host sends into the tunnel, guests do.
		s.host.AddRoute(t, resolverIP+"/32", w.exit.Tunnel.Addr.String())
		if seen := g.Reach(t, "tcp", resolverIP+":80"); seen.Addr() != w.exit.Addr {
			t.Errorf("seen as %s, want %s", seen, w.exit.Addr)
		}
		w.Close()
		g.Reach(t, "tcp", exampleIP+":80")
	})
}

func TestPacketsTakeTheDefaultRouteWithoutATunnelThatFailsOpen(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		w := s.newTunnel(t, 0)
		n := s.network(t, throughTunnel(func(w *netconfig.WireGuard) { w.FailOpen = true }))
		g := s.join(t, n, vm("a"))
		if seen := g.Reach(t, "udp", exampleIP+":80"); seen.Addr() != w.exit.Addr {
			t.Errorf("seen as %s, want %s", seen, w.exit.Addr)
		}
		bare := s.host.Capture(t, "up0", inSubnet)
		w.Close()
		if seen := g.Reach(t, "udp", exampleIP+":80"); seen.Addr().String() != uplinkIP {
			t.Errorf("without the tunnel: seen as %s, want %s", seen, uplinkIP)
		}
		none(t, bare, "guests' addresses on the uplink")
		w.open()
		must(t, n.Repair(t.Context()))
		if seen := g.Reach(t, "udp", exampleIP+":80"); seen.Addr() != w.exit.Addr {
			t.Errorf("with the tunnel again: seen as %s, want %s", seen, w.exit.Addr)
		}
	})
}

// Questions to a forwarded port are answered by the way that they came, whichever way
// the guests' own traffic takes.
func TestPacketsOfForwardedPortsReturnByTheWayTheyCame(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		w := s.newTunnel(t, 0)
		n := s.network(t, throughTunnel(nil))
		g := s.join(t, n, hostnet.Request{VM: "a", Forwards: []netconfig.Forward{
			{HostIP: netip.IPv4Unspecified(), HostPort: 8080, GuestPort: 80},
			{HostIP: netip.IPv4Unspecified(), HostPort: 8080, GuestPort: 80, Protocol: netconfig.UDP},
			{HostPort: 9090, GuestPort: 80},
		}})
		g.Serve(t, "tcp", "0.0.0.0:80")
		g.Serve(t, "udp", g.Addr.String()+":80")
		inTunnel := s.host.Capture(t, "wg0", func(p nettest.Packet) bool { return p.SrcPort == 80 || p.SrcPort == 8080 })
		for _, tt := range []struct {
			from *nettest.Namespace
			to   string
			seen string
		}{
			{s.lan, secondIP + ":8080", neighbour},
			{s.router, uplinkIP + ":8080", routerIP},
			{s.internet, uplinkIP + ":8080", "192.0.2.1"},
		} {
			for _, network := range []string{"tcp", "udp"} {
				if seen := tt.from.Reach(t, network, tt.to); seen.Addr().String() != tt.seen {
					t.Errorf("%s %s: seen as %s, want %s", network, tt.to, seen, tt.seen)
				}
			}
		}
		s.host.Reach(t, "tcp", "127.0.0.1:9090")
		s.host.Reach(t, "tcp", uplinkIP+":8080")
		none(t, inTunnel, "answers in the tunnel")
		// Also with the tunnel gone, but no word of the guest's own.
		w.Close()
		s.lan.Reach(t, "tcp", secondIP+":8080")
		g.Block(t, "udp", neighbour+":4000")
	})
}

// hasFault reports whether one of the faults is about something.
func hasFault(faults []hostnet.Fault, word string) bool {
	for _, f := range faults {
		if strings.Contains(f.What, word) {
			return true
		}
	}
	return false
}
