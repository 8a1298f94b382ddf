package hostnet_test

import (
	"net/netip"
	"strconv"
	"testing"

	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// S9.1, S9.4.
func TestPacketsLeaveUnderTheUplinksAddress(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{})
		g := s.join(t, n, vm("a"))
		if want := netip.MustParsePrefix("172.30.0.2/24"); g.tap.Addr != want || g.tap.Gateway.String() != gatewayIP {
			t.Errorf("address %s, gateway %s, want %s, %s", g.tap.Addr, g.tap.Gateway, want, gatewayIP)
		}
		inside := s.host.Capture(t, bridge, from("172.30.0.2"))
		masked := s.host.Capture(t, "up0", from(uplinkIP))
		bare := s.host.Capture(t, "up0", inSubnet)
		other := s.host.Capture(t, "up1", inSubnet)
		g.Reach(t, "icmp", gatewayIP)
		g.Reach(t, "icmp", exampleIP)
		for _, network := range []string{"tcp", "udp"} {
			for _, to := range []string{exampleIP + ":80", resolverIP + ":80", privateIP + ":81"} {
				if seen := g.Reach(t, network, to); seen.Addr().String() != uplinkIP {
					t.Errorf("%s %s: seen as %s, want %s", network, to, seen, uplinkIP)
				}
			}
		}
		some(t, inside, "the guest on the bridge")
		some(t, masked, "the uplink's address on the uplink")
		none(t, bare, "guests' addresses on the uplink")
		none(t, other, "guests on the interface that is no uplink")
	})
}

// S9.3: a TAP that the caller asked for is as good, until it is deleted.
func TestPacketsPassATAPThatWasAskedForUntilItIsDeleted(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{})
		kept, err := n.CreateTAP(t.Context(), "kept", "eth0")
		must(t, err)
		tap, err := n.CreateTAP(t.Context(), "vm", "eth0")
		must(t, err)
		before := s.host.Snapshot(t)
		other, err := n.CreateTAP(t.Context(), "other", "eth0")
		must(t, err)
		for _, g := range []*nettest.Guest{play(t, kept), play(t, tap), play(t, other)} {
			if seen := g.Reach(t, "tcp", exampleIP+":80"); seen.Addr().String() != uplinkIP {
				t.Errorf("seen as %s, want %s", seen, uplinkIP)
			}
			g.Close()
		}
		must(t, n.DeleteTAP(t.Context(), other.Name))
		s.host.Same(t, before)
		must(t, n.DeleteTAP(t.Context(), tap.Name))
		g := play(t, kept)
		g.Reach(t, "tcp", exampleIP+":80")
	})
}

// S9.4: no process of ours has to notice.
func TestPacketsFollowTheDefaultRouteWhenItChanges(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		g := s.join(t, s.network(t, netconfig.Config{}), vm("a"))
		bare := []*nettest.Capture{s.host.Capture(t, "up0", inSubnet), s.host.Capture(t, "up1", inSubnet)}
		open := g.Open(t, "tcp", exampleIP+":80")
		for _, way := range []struct{ via, seen, iface string }{
			{neighbour, secondIP, "up1"}, {routerIP, uplinkIP, "up0"}, {neighbour, secondIP, "up1"},
		} {
			s.host.ReplaceDefault(t, way.via)
			there := s.host.Capture(t, way.iface, from(way.seen))
			for _, network := range []string{"tcp", "udp"} {
				if seen := g.Reach(t, network, exampleIP+":80"); seen.Addr().String() != way.seen {
					t.Errorf("%s by %s: seen as %s, want %s", network, way.iface, seen, way.seen)
				}
			}
			some(t, there, "the new uplink's address")
		}
		open.Ask(nettest.Short) // it may go on or not, but not under the guest's address
		for _, c := range bare {
			none(t, c, "guests' addresses")
		}
	})
}

// S9.4, S9.6.
func TestPacketsStopAndTheHostIsAsBeforeWhenTheNetworkGoes(t *testing.T) {
	t.Parallel()
	for _, forwarding := range []string{"0", "1"} {
		t.Run("forwarding="+forwarding, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				s := newScene(t)
				s.host.SetSysctl(t, "net/ipv4/ip_forward", forwarding)
				before := s.host.Snapshot(t)
				n := s.network(t, netconfig.Config{Egress: &netconfig.Policy{Default: netconfig.Allow}})
				g := s.join(t, n, forwarded("a", netconfig.Forward{HostPort: 8080, GuestPort: 80}))
				g.Reach(t, "tcp", exampleIP+":80")
				if got := s.host.Sysctl(t, "net/ipv4/ip_forward"); got != "1" {
					t.Errorf("forwarding is %s while there is a network", got)
				}
				g.Close()
				g.nic.release(t)
				must(t, n.Close())
				s.host.Same(t, before)
			})
		})
	}
}

func TestPacketsFitTheMTUAndSegmentsAreClampedBothWays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		config, link int
		want         int
	}{
		{"that of the config", 1400, 1500, 1400},
		{"that of the uplink", 0, 1300, 1300},
		{"the usual one", 0, 1500, 1500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				s := newScene(t)
				must(t, s.host.Netlink().LinkSetMTU(s.host.Link(t, "up0"), tt.link))
				n := s.network(t, netconfig.Config{MTU: tt.config})
				g := s.join(t, n, vm("a"))
				links := map[string]int{"told to the guest": g.tap.MTU}
				for _, name := range []string{bridge, g.tap.Name} {
					links[name] = s.host.Link(t, name).Attrs().MTU
				}
				for what, got := range links {
					if got != tt.want {
						t.Errorf("MTU of %s: %d, want %d", what, got, tt.want)
					}
				}
				// A guest that was not told and the internet both offer 1460.
				must(t, g.Netlink().LinkSetMTU(g.Link(t, "eth0"), 1500))
				offered := s.host.Capture(t, g.tap.Name, func(p nettest.Packet) bool { return mss(p) != 0 && !p.Outgoing })
				out := s.host.Capture(t, "up0", func(p nettest.Packet) bool { return mss(p) != 0 && p.Outgoing })
				answered := s.host.Capture(t, "up0", func(p nettest.Packet) bool { return mss(p) != 0 && !p.Outgoing })
				in := s.host.Capture(t, g.tap.Name, func(p nettest.Packet) bool { return mss(p) != 0 && p.Outgoing })
				got := g.Probe(nettest.Probe{Network: "tcp", To: exampleIP + ":80", Size: 100_000, Timeout: nettest.Long})
				if got.Verdict != nettest.Reached {
					t.Error("100 kB: ", got)
				}
				for what, c := range map[string]struct {
					*nettest.Capture
					want int
				}{
					"offered by the guest": {offered, 1460}, "leaving the host": {out, tt.want - 40},
					"offered by the internet": {answered, 1460}, "told to the guest": {in, tt.want - 40},
				} {
					packets := c.Stop(t)
					if len(packets) == 0 || mss(packets[0]) != c.want {
						t.Errorf("segments %s: %d in the first of %d packets, want %s", what, mss(packets[0]), len(packets), strconv.Itoa(c.want))
					}
				}
			})
		})
	}
}

// mss returns the size of segments in a SYN of TCP, 0 where there is none.
func mss(p nettest.Packet) int {
	if p.Type != nettest.TypeIPv4 || p.Protocol != 6 {
		return 0
	}
	tcp := p.Payload[int(p.Payload[0]&15)*4:]
	if tcp[13]&2 == 0 { // no SYN
		return 0
	}
	for options := tcp[20 : int(tcp[12]>>4)*4]; len(options) >= 2; {
		switch kind := options[0]; {
		case kind == 0:
			return 0
		case kind == 1:
			options = options[1:]
		case kind == 2 && len(options) >= 4:
			return int(options[2])<<8 | int(options[3])
		default:
			options = options[min(len(options), max(2, int(options[1]))):]
		}
	}
	return 0
}
