package hostnet_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

// What is not a guest's own Ethernet and IPv4 address goes no further than its TAP.
func TestPacketsOfSomebodyElseStopAtTheTAP(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		n := s.network(t, netconfig.Config{AllowPeers: true}) // what a peer could see it would
		g, peer := s.join(t, n, vm("a")), s.join(t, n, vm("b"))
		gateway := g.gateway
		// The host's own IPv6 says hello at any time.
		sent := func(p nettest.Packet) bool { return p.Type != nettest.TypeIPv6 || p.From == g.MAC }
		arriving := func(p nettest.Packet) bool { return p.Outgoing && sent(p) }
		udp := func(src string) []byte {
			return nettest.UDP(netip.AddrPortFrom(netip.MustParseAddr(src), 4000), netip.MustParseAddrPort(exampleIP+":4000"), []byte("x"))
		}
		udp6 := nettest.UDP(netip.MustParseAddrPort("[fe80::2]:1"), netip.MustParseAddrPort("[ff02::1]:2"), []byte("x"))
		lie := func(a nettest.ARP) []byte { return a.Bytes() }
		gatewayAddr := netip.MustParseAddr(gatewayIP)
		for _, tt := range []struct {
			name, counter string
			frame         nettest.Frame
		}{
			{"a peer's address", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, Type: nettest.TypeIPv4, Payload: udp(peer.Addr.String())}},
			{"the gateway's address", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, Type: nettest.TypeIPv4, Payload: udp(gatewayIP)}},
			{"the uplink's address", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, Type: nettest.TypeIPv4, Payload: udp(uplinkIP)}},
			{"an address of the internet", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, Type: nettest.TypeIPv4, Payload: udp(resolverIP)}},
			{"loopback", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, Type: nettest.TypeIPv4, Payload: udp("127.0.0.1")}},
			{"no address", "spoofed source", nettest.Frame{To: nettest.Broadcast, From: g.MAC, Type: nettest.TypeIPv4, Payload: udp("0.0.0.0")}},
			{"a peer's MAC", "spoofed source", nettest.Frame{To: gateway, From: peer.MAC, Type: nettest.TypeIPv4, Payload: udp(g.Addr.String())}},
			{"the gateway's MAC", "spoofed source", nettest.Frame{To: peer.MAC, From: gateway, Type: nettest.TypeIPv4, Payload: udp(g.Addr.String())}},
			{"ARP: the gateway is here", "spoofed source", nettest.Frame{To: nettest.Broadcast, From: g.MAC, Type: nettest.TypeARP, Payload: lie(nettest.ARP{
				Reply: true, FromMAC: g.MAC, FromAddr: gatewayAddr, ToMAC: peer.MAC, ToAddr: peer.Addr,
			})}},
			{"ARP: the peer is here", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, Type: nettest.TypeARP, Payload: lie(nettest.ARP{
				FromMAC: g.MAC, FromAddr: peer.Addr, ToAddr: gatewayAddr,
			})}},
			{"ARP: this address is at the peer", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, Type: nettest.TypeARP, Payload: lie(nettest.ARP{
				Reply: true, FromMAC: peer.MAC, FromAddr: g.Addr, ToMAC: gateway, ToAddr: gatewayAddr,
			})}},
			{"ARP as the peer", "spoofed source", nettest.Frame{To: gateway, From: peer.MAC, Type: nettest.TypeARP, Payload: lie(nettest.ARP{
				FromMAC: peer.MAC, FromAddr: peer.Addr, ToAddr: gatewayAddr,
			})}},
			{"IPv6", "IPv6", nettest.Frame{To: gateway, From: g.MAC, Type: nettest.TypeIPv6, Payload: udp6}},
			{"IPv6 to everybody", "IPv6", nettest.Frame{To: nettest.Broadcast, From: g.MAC, Type: nettest.TypeIPv6, Payload: udp6}},
			{"a VLAN", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, VLAN: 7, Type: nettest.TypeIPv4, Payload: udp(g.Addr.String())}},
			{"VLAN 1 with a spoofed source", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, VLAN: 1, Type: nettest.TypeIPv4, Payload: udp(resolverIP)}},
			{"IPv6 in a VLAN", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, VLAN: 7, Type: nettest.TypeIPv6, Payload: udp6}},
			{"two VLANs", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, VLAN: 7, Type: nettest.TypeVLAN, Payload: append([]byte{0, 8, 8, 0}, udp(resolverIP)...)}},
			{"spanning tree", "spoofed source", nettest.Frame{To: nettest.MAC{1, 0x80, 0xc2, 0, 0, 0}, From: g.MAC, Type: 38, Payload: make([]byte, 46)}},
			{"LLDP", "spoofed source", nettest.Frame{To: nettest.MAC{1, 0x80, 0xc2, 0, 0, 0xe}, From: g.MAC, Type: 0x88cc, Payload: make([]byte, 46)}},
			{"PPPoE", "spoofed source", nettest.Frame{To: nettest.Broadcast, From: g.MAC, Type: 0x8864, Payload: make([]byte, 46)}},
			{"IPv4 that is none", "spoofed source", nettest.Frame{To: gateway, From: g.MAC, Type: nettest.TypeIPv4, Payload: make([]byte, 46)}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				seen := []*nettest.Capture{
					s.host.Capture(t, peer.tap.Name, arriving), s.host.Capture(t, "up0", sent), s.host.Capture(t, bridge, sent),
				}
				counts := s.counted(t, func() { g.Send(t, tt.frame) })
				if counts[tt.counter] != 1 {
					t.Errorf("counted %v, want 1 of %q", counts, tt.counter)
				}
				for i, c := range seen {
					none(t, c, []string{"the guest on the peer's TAP", "the guest on the uplink", "the guest on the bridge"}[i])
				}
			})
		}
		// The same captures see what a guest may send.
		seen := []*nettest.Capture{s.host.Capture(t, "up0", sent), s.host.Capture(t, bridge, sent)}
		g.send(t, udp(g.Addr.String()))
		for _, c := range seen {
			some(t, c, "the guest")
		}
		onPeer := s.host.Capture(t, peer.tap.Name, arriving)
		g.Send(t, nettest.Frame{To: nettest.Broadcast, From: g.MAC, Type: nettest.TypeARP, Payload: lie(nettest.ARP{
			FromMAC: g.MAC, FromAddr: g.Addr, ToAddr: peer.Addr,
		})})
		some(t, onPeer, "the guest's question on the peer's TAP")
	})
}

// header returns a copy of a packet with other words in its head, and that counted in.
func header(packet []byte, change func(head []byte), options ...byte) []byte {
	out := append(append(append([]byte(nil), packet[:20]...), options...), packet[20:]...)
	head := out[:20+len(options)]
	head[0] = 0x40 | byte(len(head)/4)
	binary.BigEndian.PutUint16(head[2:], uint16(len(out)))
	if change != nil {
		change(head)
	}
	head[10], head[11] = 0, 0
	sum := uint32(0)
	for i := 0; i < len(head); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(head[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(head[10:], ^uint16(sum))
	return out
}

// fragments cuts a packet into two, the first with size bytes behind its head.
func fragments(packet []byte, size int) [2][]byte {
	first := header(packet[:20+size], func(head []byte) { binary.BigEndian.PutUint16(head[6:], 0x2000) })
	second := header(append(append([]byte(nil), packet[:20]...), packet[20+size:]...),
		func(head []byte) { binary.BigEndian.PutUint16(head[6:], uint16(size/8)) })
	return [2][]byte{first, second}
}

// A rule about ports can't be evaded by the form of a packet, nor can a route be chosen.
func TestPacketsOfOddFormAreJudgedByWhatIsInThem(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newScene(t)
		g := s.join(t, s.network(t, netconfig.Config{Egress: &netconfig.Policy{Rules: []netconfig.Rule{
			{Action: netconfig.Deny, Protocol: netconfig.UDP, Ports: ports(81)},
			{Action: netconfig.Deny, Protocol: netconfig.TCP, Ports: ports(81)},
		}}}), vm("a"))
		allowed := g.datagram(exampleIP+":80", "sixteen bytes ..")
		denied := g.datagram(exampleIP+":81", "sixteen bytes ..")
		syn := func(port uint16) []byte {
			return nettest.SYN(netip.AddrPortFrom(g.Addr, 40001), netip.AddrPortFrom(netip.MustParseAddr(exampleIP), port))
		}
		nop := []byte{1, 1, 1, 0}
		route := append([]byte{131, 7, 4}, append(netip.MustParseAddr(resolverIP).AsSlice(), 0)...) // loose source route
		bad := append([]byte(nil), allowed...)
		bad[27] ^= 0xff // checksum of UDP
		for _, tt := range []struct {
			name    string
			packets [][]byte
			passes  bool
			counter string
		}{
			{"allowed", [][]byte{allowed}, true, ""},
			{"denied", [][]byte{denied}, false, ""},
			{"allowed, with options", [][]byte{header(allowed, nil, nop...)}, true, ""},
			{"denied, with options", [][]byte{header(denied, nil, nop...)}, false, ""},
			{"with a route of its own", [][]byte{header(allowed, nil, route...)}, false, ""},
			{"allowed, in fragments", list(fragments(allowed, 8)), true, ""},
			{"denied, in fragments", list(fragments(denied, 8)), false, ""},
			{"denied, in fragments, the last first", [][]byte{fragments(denied, 8)[1], fragments(denied, 8)[0]}, false, ""},
			{"a fragment without a head", [][]byte{fragments(denied, 8)[1]}, false, ""},
			{"allowed SYN", [][]byte{syn(80)}, true, ""},
			{"denied SYN", [][]byte{syn(81)}, false, ""},
			{"denied SYN in tiny fragments", list(fragments(syn(81), 8)), false, ""},
			{"a head that is cut off", [][]byte{header(denied[:22], nil)}, false, "invalid or untracked"},
			{"a wrong checksum", [][]byte{bad}, false, "invalid or untracked"},
			{"an answer to nothing", [][]byte{rst(syn(80))}, false, "invalid or untracked"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				out := s.host.Capture(t, "up0", func(p nettest.Packet) bool { return p.Outgoing && p.Type == nettest.TypeIPv4 })
				counts := s.counted(t, func() {
					for _, packet := range tt.packets {
						g.send(t, packet)
					}
				})
				if tt.passes {
					some(t, out, "the guest")
				} else {
					none(t, out, "the guest")
				}
				if tt.counter != "" && counts[tt.counter] != 1 {
					t.Errorf("counted %v, want 1 of %q", counts, tt.counter)
				}
			})
		}
	})
}

func list(two [2][]byte) [][]byte { return two[:] }

// rst turns a SYN into flags that no packet has.
func rst(syn []byte) []byte {
	out := append([]byte(nil), syn...)
	out[33] = 0x3f // all of them
	sum := binary.BigEndian.Uint16(out[36:])
	// 2 has become 0x3f: one's complement arithmetic of the difference.
	diff := uint32(^sum) + 0x3d
	binary.BigEndian.PutUint16(out[36:], ^uint16(diff>>16+diff&0xffff))
	return out
}

func ports(list ...uint16) []netconfig.PortRange {
	var all []netconfig.PortRange
	for _, p := range list {
		all = append(all, netconfig.PortRange{First: p, Last: p})
	}
	return all
}
