package hostnet_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// cloned is a clone of a guest in a network namespace of its own: the stack behind its TAP
// has the addresses of the other one.
type cloned struct {
	*guest

	ns *nettest.Namespace
}

// original is whom the clones of these tests are of.
func original() hostnet.Inside {
	return hostnet.Inside{MAC: hostnet.HardwareAddr("original", "eth0", 0), Addr: netip.MustParseAddr("172.30.0.2")}
}

// sceneWithOriginal has a network on which the original is, as its first guest.
func sceneWithOriginal(t *testing.T, c netconfig.Config) (*scene, *hostnet.Network) {
	t.Helper()
	s := newScene(t)
	n := s.network(t, c)
	if g := s.join(t, n, vm("original")); g.Addr != original().Addr || g.tap.MAC != original().MAC {
		t.Fatalf("the original has %v %s", g.Addr, g.tap.MAC)
	}
	return s, n
}

// clone puts a clone on the network, which goes at the end of the test.
func (s *scene) clone(t *testing.T, n *hostnet.Network, r hostnet.Request, inside hostnet.Inside) *cloned {
	t.Helper()
	led, err := ledger.Create(s.dir, r.VM)
	must(t, err)
	g := &guest{nic: ledgerOf{led}}
	t.Cleanup(func() {
		g.nic.release(t)
		must(t, led.Destroy())
	})
	inside.Namespace, err = hostnet.NewNamespace()
	must(t, err)
	r.Iface, r.Inside = "eth0", &inside
	g.tap, err = n.Attach(t.Context(), led, led.Dir(), r)
	must(t, err)
	c := &cloned{g, nettest.Namespaced(t, inside.Namespace.File())}
	must(t, inside.Namespace.Close())
	gateway := g.tap.Gateway
	if inside.Gateway.IsValid() {
		gateway = inside.Gateway
	}
	g.Guest = nettest.NewGuest(t, nettest.GuestConfig{
		Host: c.ns, TAP: g.tap.Name, MAC: inside.MAC, Addr: inside.Addr.String() + "/24", Gateway: gateway.String(), MTU: g.tap.MTU,
	})
	g.gateway = g.Resolve(t, gateway.String())
	return c
}

// outside is where the clone is for others.
func (c *cloned) outside() string { return c.tap.Addr.Addr().String() }

func mac(t *testing.T, text string) nettest.MAC {
	t.Helper()
	parsed, err := net.ParseMAC(text)
	must(t, err)
	return nettest.MAC(parsed)
}

// eventually waits for what the kernel does on another thread: it takes frames out of a
// wire when it comes to it.
func eventually(t *testing.T, so func() bool) {
	t.Helper()
	for end := time.Now().Add(nettest.Long); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain")
		}
	}
}

func TestClonesWithTheSameAddressesReachTheWorldAndAreReached(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s, n := sceneWithOriginal(t, netconfig.Config{})
		a := s.clone(t, n, forwarded("a", netconfig.Forward{HostPort: 8081, GuestPort: 9}, netconfig.Forward{HostIP: netip.IPv4Unspecified(), HostPort: 8081, GuestPort: 9, Protocol: netconfig.UDP}), original())
		b := s.clone(t, n, forwarded("b", netconfig.Forward{HostIP: netip.MustParseAddr(uplinkIP), HostPort: 8082, GuestPort: 9}), original())
		if a.outside() == b.outside() || a.Addr != b.Addr || a.MAC != b.MAC {
			t.Fatalf("%s and %s, want different ones; inside %v and %v, want the same", a.outside(), b.outside(), a.Addr, b.Addr)
		}
		for _, c := range []*cloned{a, b} {
			wire := s.host.Capture(t, c.tap.Port, from(c.outside()))
			for _, network := range []string{"tcp", "udp"} {
				if seen := c.Reach(t, network, exampleIP+":80"); seen.Addr().String() != uplinkIP {
					t.Errorf("seen as %s, want the host", seen)
				}
			}
			c.Reach(t, "icmp", exampleIP)
			c.Reach(t, "icmp", gatewayIP)
			some(t, wire, "the clone with its address on the bridge")
			c.Serve(t, "tcp", "0.0.0.0:9")
			c.Serve(t, "udp", "0.0.0.0:9")
			for _, network := range []string{"tcp", "udp"} {
				if seen := s.host.Reach(t, network, c.outside()+":9"); seen.Addr().String() != gatewayIP {
					t.Errorf("the host is seen as %s, want %s", seen, gatewayIP)
				}
			}
			s.host.Reach(t, "icmp", c.outside())
		}
		server := b.Serve(t, "udp", "0.0.0.0:7")
		s.host.Reach(t, "udp", b.outside()+":7")
		s.host.Reach(t, "tcp", "127.0.0.1:8081")
		s.router.Reach(t, "udp", uplinkIP+":8081")
		s.router.Reach(t, "tcp", uplinkIP+":8082")
		if got := s.router.Probe(nettest.Probe{Network: "tcp", To: uplinkIP + ":8082", Size: 100_000, Timeout: nettest.Long}); got.Verdict != nettest.Reached {
			t.Error("100 kB to a clone: ", got)
		}
		if got := a.Probe(nettest.Probe{Network: "tcp", To: exampleIP + ":80", Size: 100_000, Timeout: nettest.Long}); got.Verdict != nettest.Reached {
			t.Error("100 kB from a clone: ", got)
		}
		if got := a.Probe(nettest.Probe{Network: "udp", To: exampleIP + ":80", Size: 4000, Timeout: nettest.Long}); got.Verdict != nettest.Reached {
			t.Error("fragments from a clone: ", got)
		}
		if len(server.Peers()) == 0 {
			t.Error("nothing came to the second clone")
		}
	})
}

// A clone on another network than that of its original takes another gateway for its own.
func TestCloneKeepsTheGatewayThatItKnows(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{AllowHost: []netconfig.HostPort{{Protocol: netconfig.UDP, Port: 53}}})
		inside := hostnet.Inside{
			TAP: "eth0", MAC: "02:aa:bb:cc:dd:ee", Addr: netip.MustParseAddr("10.44.0.2"),
			Gateway: netip.MustParseAddr("10.44.0.1"), GatewayMAC: "02:11:22:33:44:55",
		}
		c := s.clone(t, n, vm("a"), inside)
		if c.gateway != (nettest.MAC{2, 0x11, 0x22, 0x33, 0x44, 0x55}) {
			t.Errorf("the gateway is at %v", c.gateway)
		}
		c.Reach(t, "tcp", exampleIP+":80")
		c.Reach(t, "icmp", "10.44.0.1")
		s.host.Serve(t, "udp", gatewayIP+":53")
		c.Reach(t, "udp", "10.44.0.1:53")
		c.Serve(t, "tcp", "0.0.0.0:9")
		if seen := s.host.Reach(t, "tcp", c.outside()+":9"); seen.Addr().String() != "10.44.0.1" {
			t.Errorf("the host is seen as %s, want the gateway that the clone knows", seen)
		}
		c.Block(t, "tcp", "10.44.0.1:22")
		// What the guest has learned before is right: nothing has to be resolved.
		hello := s.host.Capture(t, "up0", nil)
		c.Send(t, nettest.Frame{To: c.gateway, From: c.MAC, Type: nettest.TypeIPv4, Payload: c.datagram(exampleIP+":4000", "x")})
		eventually(t, func() bool { return hello.Count() > 0 })
		some(t, hello, "a clone that goes on where it was")
	})
}

// What is the network's gateway may be the clone itself for the clone, and the other way
// round: no address is translated twice.
func TestAddressesOfACloneMayBeThoseOfOthersOutside(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{})
		for name, in := range map[string][2]string{
			"as-gateway":       {gatewayIP, "172.30.0.254"},
			"behind-a-guest":   {gatewayIP, "172.30.0.3"}, // what it takes for the gateway is another guest outside
			"as-another-guest": {"172.30.0.3", "172.30.0.4"},
			"as-one-far-away":  {otherIP, "203.0.113.1"},
		} {
			c := s.clone(t, n, vm(name), hostnet.Inside{MAC: "02:aa:bb:cc:dd:ee", Addr: netip.MustParseAddr(in[0]), Gateway: netip.MustParseAddr(in[1])})
			c.AddRoute(t, exampleIP+"/32", in[1])
			for _, network := range []string{"tcp", "udp"} {
				c.Reach(t, network, exampleIP+":80")
			}
			c.Reach(t, "icmp", in[1])
			c.Serve(t, "tcp", "0.0.0.0:9")
			if seen := s.host.Reach(t, "tcp", c.outside()+":9"); seen.Addr().String() != in[1] {
				t.Errorf("%s: the host is seen as %s, want %s", name, seen, in[1])
			}
		}
	})
}

// Errors of ICMP quote a packet, with addresses that have to be those of the reader.
func TestClonesUnderstandErrorsAboutTheirPackets(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s, n := sceneWithOriginal(t, netconfig.Config{})
		c := s.clone(t, n, vm("a"), original())
		// From the internet, from the gateway, and from the clone.
		if got := c.Probe(nettest.Probe{Network: "udp", To: exampleIP + ":99", Timeout: nettest.Long}); got.Verdict != nettest.Refused {
			t.Error("a port that nobody serves: ", got)
		}
		if got := s.host.Probe(nettest.Probe{Network: "udp", To: c.outside() + ":99", Timeout: nettest.Long}); got.Verdict != nettest.Refused {
			t.Error("a port that the clone does not serve: ", got)
		}
		// A router with a smaller MTU.
		must(t, s.router.Netlink().LinkSetMTU(s.router.Link(t, "net0"), 1400))
		must(t, s.internet.Netlink().LinkSetMTU(s.internet.Link(t, "router"), 1400))
		if got := c.Probe(nettest.Probe{Network: "tcp", To: exampleIP + ":80", Size: 100_000, Timeout: nettest.Long}); got.Verdict != nettest.Reached {
			t.Error("100 kB through a smaller MTU: ", got)
		}
		if got := c.Probe(nettest.Probe{Network: "udp", To: otherIP + ":80", Size: 1450, Timeout: nettest.Long}); !errors.Is(got.Err, unix.EMSGSIZE) {
			t.Error("a datagram that is too large: ", got)
		}
		if got := c.Probe(nettest.Probe{Network: "udp", To: otherIP + ":80", Size: 1450, Timeout: nettest.Long}); got.Verdict != nettest.Reached {
			t.Error("a datagram in fragments: ", got)
		}
	})
}

func TestClonesAreIsolatedLikeOtherGuests(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s, n := sceneWithOriginal(t, netconfig.Config{})
		plain := s.join(t, n, vm("plain"))
		a, b := s.clone(t, n, vm("a"), original()), s.clone(t, n, vm("b"), original())
		b.Serve(t, "tcp", "0.0.0.0:9")
		plain.Serve(t, "tcp", "0.0.0.0:9")
		s.host.Reach(t, "tcp", b.outside()+":9")
		s.host.Serve(t, "tcp", "0.0.0.0:22")
		fromA := func(p nettest.Packet) bool { return p.Src.String() == a.outside() || p.From == mac(t, a.tap.MAC) }
		got := []*nettest.Capture{s.host.Capture(t, b.tap.Port, fromA), s.host.Capture(t, plain.tap.Name, fromA)}
		sent := s.host.Capture(t, a.tap.Port, fromA)
		for _, to := range []string{b.outside(), plain.Addr.String()} {
			a.Block(t, "tcp", to+":9")
			a.Block(t, "icmp", to)
			a.Send(t, nettest.Frame{To: a.gateway, From: a.MAC, Type: nettest.TypeIPv4, Payload: a.datagram(to+":9", "x")})
		}
		plain.Block(t, "tcp", b.outside()+":9")
		for _, to := range []string{gatewayIP + ":22", uplinkIP + ":22", metadataIP + ":80", "127.0.0.1:22"} {
			a.Block(t, "tcp", to)
		}
		a.Block(t, "icmp", metadataIP)
		some(t, sent, "the clone on its own port")
		for _, c := range got {
			none(t, c, "the clone on the port of another guest")
		}
	})
}

func TestClonesReachEachOtherWithAllowPeers(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s, n := sceneWithOriginal(t, netconfig.Config{AllowPeers: true})
		plain := s.join(t, n, vm("plain"))
		a, b := s.clone(t, n, vm("a"), original()), s.clone(t, n, vm("b"), original())
		b.Serve(t, "tcp", "0.0.0.0:9")
		plain.Serve(t, "tcp", "0.0.0.0:9")
		if seen := a.Reach(t, "tcp", b.outside()+":9"); seen.Addr().String() != a.outside() {
			t.Errorf("a clone is seen by another as %s, want %s", seen, a.outside())
		}
		if seen := a.Reach(t, "tcp", plain.Addr.String()+":9"); seen.Addr().String() != a.outside() {
			t.Errorf("a clone is seen as %s, want %s", seen, a.outside())
		}
		if seen := plain.Reach(t, "tcp", b.outside()+":9"); seen.Addr() != plain.Addr {
			t.Errorf("seen by a clone as %s, want %s", seen, plain.Addr)
		}
	})
}

func TestEgressPolicyOfEachCloneIsItsOwn(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{Egress: &netconfig.Policy{Default: netconfig.Allow, Rules: []netconfig.Rule{
			{Action: netconfig.Deny, To: netconfig.Destination{Prefix: netip.MustParsePrefix(privateIP + "/32")}},
		}}})
		only := func(ip string) *netconfig.Policy {
			return &netconfig.Policy{Default: netconfig.Deny, Rules: []netconfig.Rule{
				{Action: netconfig.Allow, To: netconfig.Destination{Prefix: netip.MustParsePrefix(ip + "/32")}},
			}}
		}
		a := s.clone(t, n, hostnet.Request{VM: "a", Egress: only(exampleIP)}, original())
		b := s.clone(t, n, hostnet.Request{VM: "b", Egress: only(resolverIP)}, original())
		free := s.clone(t, n, vm("free"), original())
		a.Reach(t, "tcp", exampleIP+":80")
		b.Reach(t, "tcp", resolverIP+":80")
		for _, ip := range []string{exampleIP, resolverIP, otherIP} {
			free.Reach(t, "tcp", ip+":80")
		}
		// At port 81, since the ends of the connections above are still on their way.
		denied := s.host.Capture(t, "up0", func(p nettest.Packet) bool {
			return p.DstPort == 81 || p.Protocol == unix.IPPROTO_ICMP
		})
		a.Block(t, "tcp", resolverIP+":81")
		a.Block(t, "udp", resolverIP+":81")
		b.Block(t, "tcp", exampleIP+":81")
		b.Block(t, "icmp", exampleIP)
		free.Block(t, "tcp", privateIP+":81")
		none(t, denied, "a clone to what its policy denies")
		must(t, n.SetEgress(t.Context(), only(otherIP)))
		a.Block(t, "tcp", exampleIP+":80")
		free.Reach(t, "tcp", otherIP+":80")
	})
}

func TestClonesTakeTheTunnelOrNothing(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		w := s.newTunnel(t, 1300)
		n := s.network(t, throughTunnel(nil))
		c := s.clone(t, n, vm("a"), original())
		must(t, c.Netlink().LinkSetMTU(c.Link(t, "eth0"), 1500)) // as its original had it
		for _, network := range []string{"tcp", "udp"} {
			if seen := c.Reach(t, network, exampleIP+":80"); seen.Addr() != w.exit.Addr {
				t.Errorf("seen as %s, want %s, the exit of the tunnel", seen, w.exit.Addr)
			}
		}
		if got := c.Probe(nettest.Probe{Network: "tcp", To: exampleIP + ":80", Size: 100_000, Timeout: nettest.Long}); got.Verdict != nettest.Reached {
			t.Error("100 kB: ", got)
		}
		// The wire carries what is too large for the tunnel, so that the host can say so.
		if got := c.Probe(nettest.Probe{Network: "udp", To: exampleIP + ":80", Size: 1450, Timeout: nettest.Long}); !errors.Is(got.Err, unix.EMSGSIZE) {
			t.Error("a datagram that is too large: ", got)
		}
		plain := s.host.Capture(t, "up0", func(p nettest.Packet) bool { return p.Dst.String() == exampleIP })
		w.Close()
		c.Block(t, "tcp", exampleIP+":80")
		c.Block(t, "udp", exampleIP+":80")
		none(t, plain, "a clone past the tunnel")
	})
}

// What is not the clone's own goes no further than its TAP: then it has no address that
// could be translated.
func TestFramesOfSomebodyElseStopAtTheTAPOfAClone(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s, n := sceneWithOriginal(t, netconfig.Config{AllowPeers: true})
		c, peer := s.clone(t, n, vm("a"), original()), s.clone(t, n, vm("b"), original())
		udp := func(src string) []byte {
			return nettest.UDP(netip.MustParseAddrPort(src+":4000"), netip.MustParseAddrPort(exampleIP+":4000"), []byte("x"))
		}
		own, peers := mac(t, c.tap.MAC), mac(t, peer.tap.MAC)
		ip := func(to, from nettest.MAC, src string) nettest.Frame {
			return nettest.Frame{To: to, From: from, Type: nettest.TypeIPv4, Payload: udp(src)}
		}
		arp := func(a nettest.ARP) nettest.Frame {
			return nettest.Frame{To: nettest.Broadcast, From: c.MAC, Type: nettest.TypeARP, Payload: a.Bytes()}
		}
		inner := c.Addr
		for name, tt := range map[string]struct {
			frame   nettest.Frame
			counter string
		}{
			"its address on the bridge":     {ip(c.gateway, c.MAC, c.outside()), "spoofed source"},
			"its MAC on the bridge":         {ip(c.gateway, own, inner.String()), "spoofed source"},
			"another clone's address":       {ip(c.gateway, c.MAC, peer.outside()), "spoofed source"},
			"another clone's MAC":           {ip(c.gateway, peers, inner.String()), "spoofed source"},
			"the gateway's address":         {ip(c.gateway, c.MAC, gatewayIP), "spoofed source"},
			"the gateway's MAC":             {ip(nettest.Broadcast, c.gateway, inner.String()), "spoofed source"},
			"an address of the internet":    {ip(c.gateway, c.MAC, resolverIP), "spoofed source"},
			"IPv6":                          {nettest.Frame{To: c.gateway, From: c.MAC, Type: nettest.TypeIPv6, Payload: make([]byte, 60)}, "IPv6"},
			"a VLAN":                        {nettest.Frame{To: c.gateway, From: c.MAC, VLAN: 7, Type: nettest.TypeIPv4, Payload: udp(inner.String())}, "spoofed source"},
			"IPv4 that is none":             {nettest.Frame{To: c.gateway, From: c.MAC, Type: nettest.TypeIPv4, Payload: make([]byte, 46)}, "spoofed source"},
			"ARP: another clone is here":    {arp(nettest.ARP{FromMAC: c.MAC, FromAddr: peer.tap.Addr.Addr(), ToAddr: netip.MustParseAddr(gatewayIP)}), "spoofed source"},
			"ARP: the gateway is here":      {arp(nettest.ARP{Reply: true, FromMAC: c.MAC, FromAddr: netip.MustParseAddr(gatewayIP), ToAddr: inner}), "spoofed source"},
			"ARP: it is somewhere else":     {arp(nettest.ARP{FromMAC: peers, FromAddr: inner, ToAddr: netip.MustParseAddr(gatewayIP)}), "spoofed source"},
			"ARP with its bridge's MAC":     {arp(nettest.ARP{FromMAC: own, FromAddr: inner, ToAddr: netip.MustParseAddr(gatewayIP)}), "spoofed source"},
			"ARP with its bridge's address": {arp(nettest.ARP{FromMAC: c.MAC, FromAddr: c.tap.Addr.Addr(), ToAddr: netip.MustParseAddr(gatewayIP)}), "spoofed source"},
		} {
			t.Run(name, func(t *testing.T) {
				seen := s.host.Capture(t, c.tap.Port, func(p nettest.Packet) bool { return !p.Outgoing })
				before := c.ns.Counted(t, "smartvm-"+c.tap.Port)
				c.Send(t, tt.frame)
				after := c.ns.Counted(t, "smartvm-"+c.tap.Port)
				if after[tt.counter]-before[tt.counter] != 1 {
					t.Errorf("counted %v, before %v, want 1 more of %q", after, before, tt.counter)
				}
				none(t, seen, "the clone on the wire")
			})
		}
		seen := s.host.Capture(t, c.tap.Port, func(p nettest.Packet) bool { return !p.Outgoing })
		c.send(t, udp(inner.String()))
		eventually(t, func() bool { return seen.Count() > 0 })
		some(t, seen, "the clone on the wire")
	})
}

// The guest finds nobody but itself with its address, and hears nothing of IPv6.
func TestNamespaceOfACloneIsSilent(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s, n := sceneWithOriginal(t, netconfig.Config{AllowPeers: true})
		c := s.clone(t, n, vm("a"), original())
		heard := c.Capture(t, "eth0", func(p nettest.Packet) bool {
			return !p.Outgoing && (p.Type == nettest.TypeIPv6 || p.Type == nettest.TypeARP && p.Src == c.Addr)
		})
		// RFC 5227: a probe before an address is used.
		c.Send(t, nettest.Frame{To: nettest.Broadcast, From: c.MAC, Type: nettest.TypeARP, Payload: nettest.ARP{
			FromMAC: c.MAC, FromAddr: netip.IPv4Unspecified(), ToAddr: c.Addr,
		}.Bytes()})
		c.Reach(t, "icmp", gatewayIP) // which the answer would not take longer than
		none(t, heard, "somebody with the clone's address, or IPv6")
		addrs, err := c.ns.Netlink().AddrList(nil, 0)
		must(t, err)
		if len(addrs) > 0 {
			t.Errorf("the namespace has %v", addrs)
		}
	})
}
