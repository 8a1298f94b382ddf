package hostnet_test

import (
	"net/netip"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// anywhere is every address of the host.
var anywhere = netip.IPv4Unspecified()

// serve starts the services of a guest, unless it has.
func (g *guest) serve(t *testing.T) {
	t.Helper()
	if g.serving {
		return
	}
	g.serving = true
	g.Serve(t, "tcp", "0.0.0.0:80")
	g.Serve(t, "udp", g.Addr.String()+":80")
}

func TestPacketsReachForwardedPortsFromWhereTheyAreListenedOn(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{Egress: &netconfig.Policy{Default: netconfig.Deny}}) // answers pass
		g := s.join(t, n, forwarded("a",
			netconfig.Forward{HostPort: 1000, GuestPort: 80}, netconfig.Forward{HostPort: 1000, GuestPort: 80, Protocol: netconfig.UDP},
			netconfig.Forward{HostIP: anywhere, HostPort: 2000, GuestPort: 80}, netconfig.Forward{HostIP: anywhere, HostPort: 2000, GuestPort: 80, Protocol: netconfig.UDP},
			netconfig.Forward{HostIP: netip.MustParseAddr(secondIP), HostPort: 3000, GuestPort: 80},
			netconfig.Forward{HostIP: anywhere, HostPort: 4000, GuestPort: 80}, // tcp only
		))
		g.serve(t)
		s.lan.AddRoute(t, "127.0.0.0/8", secondIP) // as a hostile neighbour
		for _, tt := range []struct {
			who         string
			from        *nettest.Namespace
			network, to string
			seen        string // "": it must not be reached
		}{
			{"host", s.host, "tcp", "127.0.0.1:1000", gatewayIP},
			{"host", s.host, "udp", "127.0.0.1:1000", gatewayIP},
			{"host", s.host, "tcp", secondIP + ":1000", ""},
			{"lan", s.lan, "tcp", secondIP + ":1000", ""},
			{"lan", s.lan, "udp", secondIP + ":1000", ""},

			{"host", s.host, "tcp", "127.0.0.1:2000", gatewayIP},
			{"host", s.host, "udp", "127.0.0.1:2000", gatewayIP},
			{"host", s.host, "tcp", uplinkIP + ":2000", uplinkIP},
			{"host", s.host, "udp", secondIP + ":2000", secondIP},
			{"host", s.host, "tcp", gatewayIP + ":2000", gatewayIP},
			{"lan", s.lan, "tcp", secondIP + ":2000", neighbour}, // whose address is kept
			{"lan", s.lan, "udp", secondIP + ":2000", neighbour},
			{"router", s.router, "tcp", uplinkIP + ":2000", routerIP},
			{"internet", s.internet, "tcp", uplinkIP + ":2000", "192.0.2.1"},

			{"lan", s.lan, "tcp", secondIP + ":3000", neighbour},
			{"host", s.host, "tcp", secondIP + ":3000", secondIP},
			{"host", s.host, "tcp", "127.0.0.1:3000", ""},
			{"router", s.router, "tcp", uplinkIP + ":3000", ""},

			{"lan", s.lan, "tcp", secondIP + ":4000", neighbour},
			{"lan", s.lan, "udp", secondIP + ":4000", ""},
			{"host", s.host, "tcp", exampleIP + ":2000", ""}, // only addresses of the host
			{"guest", g.Namespace, "tcp", gatewayIP + ":2000", ""},
		} {
			if tt.seen == "" {
				tt.from.Block(t, tt.network, tt.to)
			} else if seen := tt.from.Reach(t, tt.network, tt.to); seen.Addr().String() != tt.seen {
				t.Errorf("%s to %s %s: seen as %s, want %s", tt.who, tt.network, tt.to, seen, tt.seen)
			}
		}
		// Somebody on the LAN who sends to 127.0.0.1 at the host's MAC.
		s.host.SetSysctl(t, "net/ipv4/conf/all/route_localnet", "1") // other software does that
		arrived := func(port uint16, to string) int {
			t.Helper()
			atGuest := s.host.Capture(t, g.tap.Name, func(p nettest.Packet) bool { return p.Outgoing && p.DstPort == 80 && p.Src.String() == neighbour })
			s.lan.SendFrame(t, "wan", nettest.Frame{
				To: nettest.MAC(s.host.Link(t, "up1").Attrs().HardwareAddr), From: nettest.MAC(s.lan.Link(t, "wan").Attrs().HardwareAddr), Type: nettest.TypeIPv4,
				Payload: nettest.SYN(netip.MustParseAddrPort(neighbour+":50000"), netip.AddrPortFrom(netip.MustParseAddr(to), port)),
			})
			atGuest.Stop(t)
			return atGuest.Count()
		}
		if got := arrived(2000, secondIP); got == 0 {
			t.Error("a SYN to the host's address did not arrive at the guest: the next ones show nothing")
		}
		for _, port := range []uint16{1000, 2000} {
			if got := arrived(port, "127.0.0.1"); got != 0 {
				t.Errorf("%d packets for 127.0.0.1:%d, from the LAN, arrived at the guest", got, port)
			}
		}
		// The ports are free again when the guest goes.
		g.Close()
		g.nic.release(t)
		s.lan.Block(t, "tcp", secondIP+":2000")
		s.host.Serve(t, "tcp", "0.0.0.0:2000")
		s.lan.Reach(t, "tcp", secondIP+":2000")
	})
}

func TestPacketsOfGuestsReachForwardedPortsOfOthersOnlyWhenBothAreAllowed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		config netconfig.Config
		want   bool
	}{
		"default":     {netconfig.Config{}, false},
		"peers":       {netconfig.Config{AllowPeers: true}, false},
		"host":        {netconfig.Config{AllowHost: []netconfig.HostPort{{Port: 2000}}}, false},
		"host, peers": {netconfig.Config{AllowPeers: true, AllowHost: []netconfig.HostPort{{Port: 2000}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				s := newScene(t)
				n := s.network(t, tt.config)
				a := s.join(t, n, vm("a"))
				b := s.join(t, n, forwarded("b", netconfig.Forward{HostIP: anywhere, HostPort: 2000, GuestPort: 80}))
				b.serve(t)
				s.lan.Reach(t, "tcp", secondIP+":2000")
				if tt.want {
					a.Reach(t, "tcp", gatewayIP+":2000")
				} else {
					a.Block(t, "tcp", gatewayIP+":2000")
				}
				for _, ip := range []string{uplinkIP, secondIP} { // what is open is open on the gateway only
					a.Block(t, "tcp", ip+":2000")
				}
			})
		})
	}
}

func TestPacketsKeepReachingWhoHasThePortWhenAnotherAsksForIt(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{})
		g := s.join(t, n, forwarded("a", netconfig.Forward{HostIP: anywhere, HostPort: 2000, GuestPort: 80}))
		g.serve(t)
		program := s.host.Serve(t, "tcp", "127.0.0.1:3000")
		s.host.Serve(t, "udp", uplinkIP+":4000")
		// Another network of the same runtime directory shares the ports.
		second := s.network(t, netconfig.Config{Bridge: "svbr1", Subnet: netip.MustParsePrefix("172.31.0.0/24")})
		for _, f := range []netconfig.Forward{
			{HostIP: anywhere, HostPort: 2000, GuestPort: 80},
			{HostPort: 2000, GuestPort: 81},
			{HostIP: netip.MustParseAddr(secondIP), HostPort: 2000, GuestPort: 80},
			{HostPort: 3000, GuestPort: 80},
			{HostIP: anywhere, HostPort: 3000, GuestPort: 80},
			{HostIP: anywhere, HostPort: 4000, GuestPort: 80, Protocol: netconfig.UDP},
		} {
			for name, net := range map[string]*hostnet.Network{"b": n, "c": second} {
				led, err := ledger.Create(s.dir, name)
				must(t, err)
				_, err = net.Attach(t.Context(), led, led.Dir(), hostnet.Request{VM: name, Iface: "eth0", Forwards: []netconfig.Forward{f}})
				if errcode.Of(err, "") != errcode.PortInUse {
					t.Errorf("%v for %s: %v, want %s", f, name, err, errcode.PortInUse)
				}
				must(t, led.Release(t.Context()))
				must(t, led.Destroy())
			}
		}
		s.lan.Reach(t, "tcp", secondIP+":2000")
		s.host.Reach(t, "tcp", "127.0.0.1:3000")
		if len(program.Peers()) == 0 {
			t.Error("the host's program was not reached")
		}
		// What does not conflict can be had.
		b := s.join(t, n, forwarded("b", netconfig.Forward{HostIP: anywhere, HostPort: 2000, GuestPort: 80, Protocol: netconfig.UDP}))
		b.serve(t)
		s.lan.Reach(t, "udp", secondIP+":2000")
		s.lan.Reach(t, "tcp", secondIP+":2000")
	})
}
