package nettest_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/smartvm/smartvm/internal/nettest"
)

const (
	guestMAC = "02:00:00:00:00:02"
	guestIP  = "172.30.0.2"
	hostIP   = "172.30.0.1"
)

// routed makes a host with an uplink and a guest that it forwards for, without any
// rule: the TAP is the guest's link.
func routed(t *testing.T) (host, world *nettest.Namespace, guest *nettest.Guest) {
	t.Helper()
	host = nettest.Host(t)
	world = host.Uplink(t, "up0", "198.51.100.1/24", "203.0.113.9/32")
	world.AddRoute(t, "172.30.0.0/24", "198.51.100.1")
	host.SetSysctl(t, "net/ipv4/ip_forward", "1")
	host.AddTAP(t, "tap0")
	host.AddAddr(t, "tap0", hostIP+"/24")
	host.Up(t, "tap0")
	guest = nettest.NewGuest(t, nettest.GuestConfig{
		TAP: "tap0", MAC: guestMAC, Addr: guestIP + "/24", Gateway: hostIP, MTU: 1400,
	})
	return host, world, guest
}

func TestGuestIsARealStackBehindATAP(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		host, world, guest := routed(t)
		web := world.Serve(t, "tcp", "203.0.113.9:80")
		world.Serve(t, "udp", "203.0.113.9:53")

		if seen := guest.Reach(t, "tcp", "203.0.113.9:80"); seen.Addr() != netip.MustParseAddr(guestIP) {
			t.Errorf("the server saw %s", seen)
		}
		if peers := web.Peers(); len(peers) != 1 || peers[0].Addr() != netip.MustParseAddr(guestIP) {
			t.Errorf("the server's peers: %v", peers)
		}
		guest.Reach(t, "udp", "203.0.113.9:53")
		guest.Reach(t, "icmp", "203.0.113.9")
		guest.Reach(t, "icmp", hostIP)
		// Long answers come as segments that nobody has cut, as virtio-net has them.
		if got := guest.Probe(nettest.Probe{Network: "tcp", To: "203.0.113.9:80", Size: 1 << 20, Timeout: nettest.Long}); got.Verdict != nettest.Reached {
			t.Error("a long answer: ", got)
		}
		if got := guest.Probe(nettest.Probe{Network: "udp", To: "203.0.113.9:53", Size: 4000, Timeout: nettest.Long}); got.Verdict != nettest.Reached {
			t.Error("a datagram in fragments: ", got)
		}
		guest.Serve(t, "tcp", "0.0.0.0:22")
		host.Reach(t, "tcp", guestIP+":22")
		world.Reach(t, "tcp", guestIP+":22")

		if mac := guest.Resolve(t, hostIP); !bytes.Equal(mac[:], host.Link(t, "tap0").Attrs().HardwareAddr) {
			t.Errorf("resolved the host to %v", mac)
		}
		guest.Close()
		if host.Link(t, "tap0").Attrs().OperState == netlink.OperUp {
			t.Error("the TAP of a dead guest has a carrier")
		}
	})
}

func TestProbeTellsWhyNothingIsReached(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		host, world, guest := routed(t)
		conn := guest.Open(t, "tcp", world.Serve(t, "tcp", "203.0.113.9:80").Addr().String())
		if got := conn.Ask(nettest.Long); got.Verdict != nettest.Reached {
			t.Error("an open connection: ", got)
		}
		for _, network := range []string{"tcp", "udp"} {
			if got := guest.Probe(nettest.Probe{Network: network, To: "203.0.113.9:99", Timeout: nettest.Long}); got.Verdict != nettest.Refused {
				t.Errorf("%s without a server: %s", network, got)
			}
		}
		// The world has no route back to the sender that the probe says it is.
		guest.AddAddr(t, "eth0", "172.31.0.2/24")
		for network, from := range map[string]string{"tcp": "172.31.0.2:0", "udp": "172.31.0.2:0"} {
			got := guest.Probe(nettest.Probe{Network: network, To: "203.0.113.9:80", From: from})
			if got.Verdict != nettest.Silent {
				t.Errorf("%s without a way back: %s", network, got)
			}
		}
		if got := host.Probe(nettest.Probe{Network: "tcp", To: "240.0.0.1:1"}); got.Verdict == nettest.Reached {
			t.Error(got)
		}
		alone := nettest.NewNamespace(t)
		for network, to := range map[string]string{"tcp": "192.0.2.1:1", "udp": "192.0.2.1:1", "icmp": "192.0.2.1"} {
			if got := alone.Probe(nettest.Probe{Network: network, To: to}); got.Verdict != nettest.Unreachable {
				t.Errorf("%s without a route: %s", network, got)
			}
		}
		host.SetSysctl(t, "net/ipv4/ip_forward", "0")
		if got := conn.Ask(nettest.Short); got.Verdict != nettest.Silent {
			t.Error("an open connection that is cut: ", got)
		}
		guest.Block(t, "tcp", "203.0.113.9:80")
	})
}

func TestCaptureSeesEveryPacketOfAFlood(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		const flood = 100_000
		host, _, guest := routed(t)
		gateway := guest.Resolve(t, hostIP)
		toWorld := func(p nettest.Packet) bool { return p.Dst == netip.MustParseAddr("203.0.113.9") && p.DstPort == 7 }
		in, out := host.Capture(t, "tap0", toWorld), host.Capture(t, "up0", toWorld)
		guest.Flood(t, flood, gateway, netip.MustParseAddrPort("203.0.113.9:7"))
		packets := out.Stop(t)
		in.Stop(t)
		if in.Count() != flood || out.Count() != flood {
			t.Errorf("captured %d on the TAP, %d on the uplink, of %d", in.Count(), out.Count(), flood)
		}
		if p := packets[0]; len(packets) > 1000 || !p.Outgoing || p.SrcPort != 40000 || p.Protocol != 17 {
			t.Errorf("%d packets, the first is %+v", len(packets), p)
		}
	})
}

func TestCaptureIsFinishedOnALinkThatIsDownOrGone(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		host, _, guest := routed(t)
		guest.Resolve(t, hostIP)
		for name, end := range map[string]func(netlink.Link) error{
			"down": host.Netlink().LinkSetDown, "gone": host.Netlink().LinkDel,
			"without a carrier": func(netlink.Link) error { guest.Close(); return nil },
		} {
			host.AddTAP(t, "tap1")
			host.Up(t, "tap1")
			g := nettest.NewGuest(t, nettest.GuestConfig{TAP: "tap1", MAC: guestMAC})
			capture := host.Capture(t, "tap1", func(p nettest.Packet) bool { return p.Type == 0x9999 })
			g.Send(t, nettest.Frame{To: nettest.Broadcast, From: g.MAC, Type: 0x9999, Payload: make([]byte, 46)})
			if name == "without a carrier" {
				g.Close()
			} else if err := end(host.Link(t, "tap1")); err != nil {
				t.Fatal(err)
			}
			capture.Stop(t)
			if capture.Count() != 1 {
				t.Errorf("%s: captured %d packets, want 1", name, capture.Count())
			}
			g.Close()
			if name != "gone" {
				if err := host.Netlink().LinkDel(host.Link(t, "tap1")); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestSendLiesAsAHostileGuestCan(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		host, _, guest := routed(t)
		mac := nettest.MAC{2, 0xbb}
		v4, v6 := netip.MustParseAddrPort("10.9.8.7:1"), netip.MustParseAddrPort("[fd00::1]:2")
		all := host.Capture(t, "tap0", func(p nettest.Packet) bool { return p.From == mac })
		for _, f := range []nettest.Frame{
			{Type: nettest.TypeIPv4, Payload: nettest.UDP(v4, v4, []byte("a"))},
			{Type: nettest.TypeIPv6, Payload: nettest.UDP(v6, v6, []byte("b"))},
			{Type: nettest.TypeARP, Payload: nettest.ARP{Reply: true, FromMAC: mac, FromAddr: v4.Addr(), ToAddr: v4.Addr()}.Bytes()},
			{Type: nettest.TypeIPv4, VLAN: 42, Payload: nettest.UDP(v4, v4, []byte("c"))},
		} {
			f.From, f.To = mac, nettest.Broadcast
			guest.Send(t, f)
		}
		got := all.Stop(t)
		if len(got) != 4 {
			t.Fatalf("captured %+v", got)
		}
		if p := got[0]; p.Src != v4.Addr() || p.DstPort != 1 || p.Outgoing {
			t.Errorf("IPv4: %+v", p)
		}
		if p := got[1]; p.Src != v6.Addr() || p.SrcPort != 2 || !strings.Contains(string(p.Payload), "b") {
			t.Errorf("IPv6: %+v", p)
		}
		if p := got[2]; p.Type != nettest.TypeARP || p.Src != v4.Addr() {
			t.Errorf("ARP: %+v", p)
		}
		if p := got[3]; p.VLAN != 42 || p.Type != nettest.TypeIPv4 || p.Src != v4.Addr() {
			t.Errorf("VLAN: %+v", p)
		}
	})
}

func TestFlushWaitsForWhatTheGuestHasSent(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		host, _, guest := routed(t)
		guest.Resolve(t, hostIP)
		out := host.Capture(t, "up0", func(p nettest.Packet) bool { return p.DstPort == 77 })
		sent := 0
		conn := guest.Open(t, "udp", "203.0.113.9:77")
		for range 200 {
			if _, err := conn.Write([]byte("x")); err == nil { // else the answer to an earlier one is told
				sent++
			}
		}
		guest.Flush(t)
		out.Stop(t)
		if out.Count() != sent || sent == 0 {
			t.Errorf("%d of %d came through", out.Count(), sent)
		}
	})
}
