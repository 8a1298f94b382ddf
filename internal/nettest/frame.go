package nettest

import (
	"encoding/binary"
	"net/netip"
)

// Types of frames (IEEE 802) and protocols of IP (IANA).
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
	TypeVLAN = 0x8100
	TypeIPv6 = 0x86dd

	protocolICMP = 1
	protocolTCP  = 6
	protocolUDP  = 17

	// typeMarker is one of those for local experiments: no stack listens to it.
	typeMarker = 0x88b5
)

// MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is the MAC of everybody.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Frame is an Ethernet frame.
type Frame struct {
	To, From MAC
	VLAN     int // tag of IEEE 802.1Q, 0: none
	Type     int
	Payload  []byte
}

// Bytes returns the frame as it is on the wire.
func (f Frame) Bytes() []byte {
	b := append(append(make([]byte, 0, 18+len(f.Payload)), f.To[:]...), f.From[:]...)
	if f.VLAN != 0 {
		b = binary.BigEndian.AppendUint16(b, TypeVLAN)
		b = binary.BigEndian.AppendUint16(b, uint16(f.VLAN))
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(f.Type)), f.Payload...)
}

// UDP returns the IP packet, of the version of its addresses, of a UDP datagram.
func UDP(from, to netip.AddrPort, data []byte) []byte {
	segment := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(segment[0:], from.Port())
	binary.BigEndian.PutUint16(segment[2:], to.Port())
	binary.BigEndian.PutUint16(segment[4:], uint16(8+len(data)))
	segment = append(segment, data...)
	sum := pseudoChecksum(from.Addr(), to.Addr(), protocolUDP, segment)
	if sum == 0 { // it would say that there is none
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(segment[6:], sum)
	return IP(from.Addr(), to.Addr(), protocolUDP, segment)
}

// SYN returns the IP packet that asks for a connection of TCP.
func SYN(from, to netip.AddrPort) []byte {
	segment := make([]byte, 20)
	binary.BigEndian.PutUint16(segment[0:], from.Port())
	binary.BigEndian.PutUint16(segment[2:], to.Port())
	segment[12], segment[13] = 5<<4, 2 // 5 words, SYN
	binary.BigEndian.PutUint16(segment[14:], 64<<10-1)
	binary.BigEndian.PutUint16(segment[16:], pseudoChecksum(from.Addr(), to.Addr(), protocolTCP, segment))
	return IP(from.Addr(), to.Addr(), protocolTCP, segment)
}

// Echo returns the IP packet of an ICMP echo request.
func Echo(from, to netip.Addr, id uint16) []byte {
	message := make([]byte, 8)
	message[0] = 8
	binary.BigEndian.PutUint16(message[4:], id)
	binary.BigEndian.PutUint16(message[2:], checksum(message))
	return IP(from, to, protocolICMP, message)
}

// pseudoChecksum is that of UDP and TCP.
func pseudoChecksum(from, to netip.Addr, protocol byte, segment []byte) uint16 {
	pseudo := append(from.AsSlice(), to.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint16(append(pseudo, 0, protocol), uint16(len(segment)))
	return checksum(append(pseudo, segment...))
}

// IP returns the IP packet, of the version of its addresses, with the given payload.
func IP(from, to netip.Addr, protocol int, payload []byte) []byte {
	if from.Is4() {
		head := make([]byte, 20)
		head[0] = 0x45 // version 4, 5 words
		binary.BigEndian.PutUint16(head[2:], uint16(len(head)+len(payload)))
		head[8], head[9] = 64, byte(protocol)
		copy(head[12:], from.AsSlice())
		copy(head[16:], to.AsSlice())
		binary.BigEndian.PutUint16(head[10:], checksum(head))
		return append(head, payload...)
	}
	head := make([]byte, 40)
	head[0] = 0x60 // version 6
	binary.BigEndian.PutUint16(head[4:], uint16(len(payload)))
	head[6], head[7] = byte(protocol), 64
	copy(head[8:], from.AsSlice())
	copy(head[24:], to.AsSlice())
	return append(head, payload...)
}

// ARP is the payload of a frame of [TypeARP], for Ethernet and IPv4 (RFC 826).
type ARP struct {
	Reply            bool
	FromMAC, ToMAC   MAC
	FromAddr, ToAddr netip.Addr
}

// Bytes returns the payload.
func (a ARP) Bytes() []byte {
	op := byte(1)
	if a.Reply {
		op = 2
	}
	b := append([]byte{0, 1, 8, 0, 6, 4, 0, op}, a.FromMAC[:]...)
	b = append(append(b, a.FromAddr.AsSlice()...), a.ToMAC[:]...)
	return append(b, a.ToAddr.AsSlice()...)
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// Packet is what is known of a frame, or of a packet on a link without frames. What
// can't be read is zero.
type Packet struct {
	To, From MAC
	VLAN     int
	Type     int  // of the frame's payload
	Outgoing bool // sent on the link, not received from it

	Src, Dst         netip.Addr // of IPv4, IPv6 or ARP
	Protocol         int        // of IP
	SrcPort, DstPort int        // of TCP and UDP in a packet's first fragment
	Payload          []byte     // of the frame: the IP packet
}

// parse reads a frame.
func parse(frame []byte) (p Packet) {
	if len(frame) < 14 {
		return p
	}
	p.To, p.From = MAC(frame[0:6]), MAC(frame[6:12])
	p.Type = int(binary.BigEndian.Uint16(frame[12:]))
	p.Payload = frame[14:]
	if p.Type == TypeVLAN && len(frame) >= 18 {
		p.VLAN = int(binary.BigEndian.Uint16(frame[14:]) & 0xfff)
		p.Type = int(binary.BigEndian.Uint16(frame[16:]))
		p.Payload = frame[18:]
	}
	return p.withPayload()
}

// withPayload returns the packet with the addresses that are in its payload.
func (p Packet) withPayload() Packet {
	var transport []byte
	switch b := p.Payload; {
	case p.Type == TypeARP && len(b) >= 28:
		p.Src, p.Dst = netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	case p.Type == TypeIPv4 && len(b) >= 20:
		p.Src, p.Dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		p.Protocol = int(b[9])
		if binary.BigEndian.Uint16(b[6:])&0x1fff == 0 {
			transport = b[min(len(b), int(b[0]&15)*4):]
		}
	case p.Type == TypeIPv6 && len(b) >= 40:
		p.Src, p.Dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		p.Protocol = int(b[6])
		transport = b[40:]
	}
	if (p.Protocol == protocolTCP || p.Protocol == protocolUDP) && len(transport) >= 4 {
		p.SrcPort = int(binary.BigEndian.Uint16(transport[0:]))
		p.DstPort = int(binary.BigEndian.Uint16(transport[2:]))
	}
	return p
}
