package e2e_test

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/vmconfig"
)

// pair is a guest that tries what it must not, and its peer, on a network with nothing
// but defaults.
type pair struct {
	*world

	g         *guest.Guest // the one that tries
	tap, peer hostnet.TAP
	gateway   nettest.MAC
}

func TestGuestIsAloneWithItsGateway(t *testing.T) {
	nettest.Isolated(t, func(t *testing.T) {
		claims(t, "S9.1", "A guest reaches no service of the host, neither on the gateway nor on other addresses, unless the network allows it")
		claims(t, "S9.1", "A guest does not reach the metadata address 169.254.169.254 of the host's cloud")
		claims(t, "S9.1", "A guest does not reach another guest, neither directly nor by way of the gateway")
		claims(t, "S9.1", "A guest can't send from another IPv4 address: nobody's, its peer's, or the gateway's")
		claims(t, "S9.1", "A guest can't send from another MAC address: nobody's, its peer's, or the gateway's")
		claims(t, "S9.1", "A guest can't claim another's IPv4 address by ARP")
		claims(t, "S9.1", "No IPv6 leaves a guest, also where the host forwards it")
		w := newWorld(t)
		w.speakIPv6()
		s := w.site(smartvm.Options{})
		vm, g := s.boot(s.networked(vmconfig.Network{}))
		peerVM, peer := s.boot(s.networked(vmconfig.Network{}))
		p := &pair{world: w, g: g, tap: vm.TAPs()[0], peer: peerVM.TAPs()[0]}
		p.gateway = nettest.MAC(w.host.Link(t, bridge).Attrs().HardwareAddr)
		serve(t, peer)
		p.testHost()
		p.testMetadata()
		p.testPeer()
		p.testAddresses()
		p.testFrames()
		// The peer has not noticed.
		wantVisitor(t, w.host, p.peer.Addr.Addr().String()+":80", gatewayIP)
		wantReached(t, peer, "tcp", exampleIP+":80", uplinkIP)
	})
}

// Addresses of IPv6, of the host on up0 and of the internet.
const (
	uplinkIP6  = "2001:db8::1"
	exampleIP6 = "2001:db8::9"
)

// speakIPv6 makes the host a router of IPv6.
func (w *world) speakIPv6() {
	w.t.Helper()
	w.host.AddAddr(w.t, "up0", uplinkIP6+"/64")
	w.internet.AddAddr(w.t, "wan", exampleIP6+"/64")
	w.host.SetSysctl(w.t, "net/ipv6/conf/all/forwarding", "1")
}

// fruitless has the guest ask, until each question is in the host's hands.
func (p *pair) fruitless(probes ...probe) {
	t := p.t
	t.Helper()
	sent := watch(t, p.host, p.tap.Name, fromGuest)
	var tasks []*guest.Task
	for _, probe := range probes {
		tasks = append(tasks, probe.ask(t, p.g))
	}
	for i, probe := range probes {
		sent.wait(probe, 1)
		end(t, tasks[i])
		if got := tasks[i].Result(); got.Stdout != "" || got.Code == 0 {
			t.Errorf("%s is answered: %+v", probe, got)
		}
	}
	sent.stop()
}

func (p *pair) testHost() {
	t := p.t
	t.Helper()
	var servers []*nettest.Server
	var probes []probe
	for _, addr := range []string{gatewayIP, uplinkIP, secondIP} {
		for _, network := range []string{"tcp", "udp"} {
			server := p.host.Serve(t, network, addr+":22")
			p.host.Reach(t, network, addr+":22")
			servers = append(servers, server)
			probes = append(probes, probe{network, addr + ":22"})
		}
	}
	reach(t, p.g, "icmp", gatewayIP)
	p.fruitless(append(probes, probe{"icmp", uplinkIP}, probe{"icmp", secondIP})...)
	for _, server := range servers {
		for _, from := range server.Peers() {
			if p.tap.Addr.Contains(from.Addr()) && from.Addr().String() != gatewayIP {
				t.Errorf("the host's service at %s hears the guest", server.Addr())
			}
		}
	}
}

func (p *pair) testMetadata() {
	t := p.t
	t.Helper()
	out := watch(t, p.internet, "wan", func(packet nettest.Packet) bool { return packet.Dst.String() == metadataIP })
	p.fruitless(probe{"tcp", metadataIP + ":80"}, probe{"udp", metadataIP + ":80"}, probe{"icmp", metadataIP})
	out.none("the guest to the metadata address")
	p.host.Reach(t, "tcp", metadataIP+":80") // it is there
	p.host.Reach(t, "udp", metadataIP+":80")
}

func (p *pair) testPeer() {
	t := p.t
	t.Helper()
	peer := p.peer.Addr.Addr()
	wantVisitor(t, p.host, peer.String()+":80", gatewayIP) // it is there
	onPeer := p.onPeer()
	sent := watch(t, p.host, p.tap.Name, fromGuest)
	task := probe{"tcp", peer.String() + ":80"}.ask(t, p.g)
	sent.wait(probe{"arp", peer.String()}, 1)
	end(t, task)
	// What it would do with an answer, and who routes it if not the bridge.
	for _, to := range []nettest.MAC{mac(t, p.peer.MAC), nettest.Broadcast, p.gateway} {
		p.send(nettest.Frame{To: to, From: mac(t, p.tap.MAC), Type: nettest.TypeIPv4, Payload: p.datagram(p.tap.Addr.Addr(), netip.AddrPortFrom(peer, 9))})
	}
	sent.wait(probe{"udp", netip.AddrPortFrom(peer, 9).String()}, 3)
	sent.stop()
	onPeer.none("the guest on its peer's TAP")
}

// onPeer watches for the guest at its peer.
func (p *pair) onPeer() *sightings {
	p.t.Helper()
	guest := mac(p.t, p.tap.MAC)
	return watch(p.t, p.host, p.peer.Name, func(packet nettest.Packet) bool {
		return packet.From == guest || packet.Src == p.tap.Addr.Addr()
	})
}

// testAddresses changes the addresses of the guest's interface, as its root can.
func (p *pair) testAddresses() {
	t := p.t
	t.Helper()
	ping := probe{"icmp", exampleIP}
	for _, way := range []struct{ what, lie, truth string }{
		{
			"an IPv4 address of nobody",
			"ip addr add 172.30.0.77/32 dev eth0; ip route replace default via 172.30.0.1 src 172.30.0.77",
			"ip route replace default via 172.30.0.1; ip addr del 172.30.0.77/32 dev eth0",
		},
		{
			"a MAC address of nobody", // with which it would not be told the gateway's
			fmt.Sprintf("ip link set eth0 address 02:00:00:00:00:77; arp -s %s %s", gatewayIP, net.HardwareAddr(p.gateway[:])),
			"ip link set eth0 address " + p.tap.MAC,
		},
	} {
		out := watch(t, p.internet, "wan", func(packet nettest.Packet) bool { return kind(packet) == ping })
		output(t, p.g, way.lie)
		p.fruitless(ping)
		out.none("a guest with " + way.what)
		output(t, p.g, way.truth)
		reach(t, p.g, "icmp", exampleIP)
	}
}

// testFrames sends frames past the guest's own stack, which would not: each is seen on
// the TAP, and those that tell the truth on the bridge, and if they have somewhere to go
// in the internet.
func (p *pair) testFrames() {
	t := p.t
	t.Helper()
	var frames []nettest.Frame
	var all []probe
	add := func(f nettest.Frame, kind probe) {
		frames, all = append(frames, f), append(all, kind)
	}
	own, ownMAC, peer, peerMAC := p.tap.Addr.Addr(), mac(t, p.tap.MAC), p.peer.Addr.Addr(), mac(t, p.peer.MAC)
	gateway, nobody := netip.MustParseAddr(gatewayIP), netip.MustParseAddr("172.30.0.77")
	port := uint16(4000) // by which a datagram is known
	datagram := func(f nettest.Frame, from netip.Addr, to string) probe {
		port++
		dst := netip.AddrPortFrom(netip.MustParseAddr(to), port)
		f.Payload = p.datagram(from, dst)
		add(f, probe{"udp", dst.String()})
		return all[len(all)-1]
	}
	v4 := nettest.Frame{To: p.gateway, From: ownMAC, Type: nettest.TypeIPv4}
	for _, from := range []netip.Addr{nobody, peer, gateway, netip.MustParseAddr(uplinkIP), netip.MustParseAddr(farIP)} {
		datagram(v4, from, otherIP)
	}
	for _, from := range []nettest.MAC{{2, 0, 0, 0, 0, 0x77}, peerMAC, p.gateway} {
		datagram(nettest.Frame{To: p.gateway, From: from, Type: nettest.TypeIPv4}, own, otherIP)
	}
	datagram(nettest.Frame{To: p.gateway, From: ownMAC, Type: nettest.TypeIPv4, VLAN: 7}, own, otherIP)
	v6 := nettest.Frame{To: p.gateway, From: ownMAC, Type: nettest.TypeIPv6}
	datagram(v6, netip.MustParseAddr("2001:db8::77"), exampleIP6)
	v6.To = nettest.MAC{0x33, 0x33, 0, 0, 0, 1}
	datagram(v6, netip.MustParseAddr("fe80::77"), "ff02::1")
	asked := byte(200) // the address by which an ARP request is known
	arp := func(from nettest.MAC, claim nettest.ARP) probe {
		asked++
		claim.ToAddr = netip.AddrFrom4([4]byte{172, 30, 0, asked})
		add(nettest.Frame{To: nettest.Broadcast, From: from, Type: nettest.TypeARP, Payload: claim.Bytes()}, probe{"arp", claim.ToAddr.String()})
		return all[len(all)-1]
	}
	for _, claimed := range []netip.Addr{gateway, peer, nobody} {
		arp(ownMAC, nettest.ARP{FromMAC: ownMAC, FromAddr: claimed})
	}
	arp(peerMAC, nettest.ARP{FromMAC: peerMAC, FromAddr: peer})
	arp(ownMAC, nettest.ARP{FromMAC: peerMAC, FromAddr: own})
	truth := []probe{arp(ownMAC, nettest.ARP{FromMAC: ownMAC, FromAddr: own}), datagram(v4, own, otherIP)} // the last: behind it nothing is on its way

	ours := func(packet nettest.Packet) bool { return slices.Contains(all, kind(packet)) }
	sent := watch(t, p.host, p.tap.Name, fromGuest)
	onBridge, out := watch(t, p.host, bridge, ours), watch(t, p.internet, "wan", ours)
	onPeer := p.onPeer()
	p.send(frames...)
	for _, kind := range all {
		sent.wait(kind, 1)
	}
	out.wait(truth[1], 1)
	sent.stop()
	if got := onBridge.stop(); !slices.Equal(got, truth) {
		t.Errorf("on the bridge are %v, want %v", got, truth)
	}
	if got := out.stop(); !slices.Equal(got, truth[1:]) {
		t.Errorf("in the internet are %v, want %v", got, truth[1:])
	}
	onPeer.none("the guest on its peer's TAP")
}

// send has the guest send frames.
func (p *pair) send(frames ...nettest.Frame) {
	p.t.Helper()
	command := "frame eth0"
	for _, f := range frames {
		command += " " + hex.EncodeToString(f.Bytes())
	}
	output(p.t, p.g, command)
}

func (p *pair) datagram(from netip.Addr, to netip.AddrPort) []byte {
	return nettest.UDP(netip.AddrPortFrom(from, 4000), to, []byte("x"))
}

func mac(t *testing.T, text string) nettest.MAC {
	t.Helper()
	mac, err := net.ParseMAC(text)
	must(t, err)
	return nettest.MAC(mac)
}
