package ruleset

import (
	"encoding/binary"
	"net/netip"
)

// Name returns the value of an interface name, without padding.
func Name(name string) Value { return Value(name) }

// Number8 returns the value of a field of one byte: protocol, ICMP type, TCP
// flags, nfproto, direction.
func Number8(n uint8) Value { return Value{n} }

// Number16 returns the value of a field of two bytes: port, Ethernet type.
func Number16(n uint16) Value { return binary.BigEndian.AppendUint16(nil, n) }

// Number32 returns the value of a field of four bytes: mark, state, status, kind.
func Number32(n uint32) Value { return binary.BigEndian.AppendUint32(nil, n) }

// Addr returns the value of an IPv4 address.
func Addr(addr netip.Addr) Value { return Value(addr.AsSlice()) }

// number returns the value as a number, 0 if it has more than four bytes.
func (v Value) number() uint32 {
	if len(v) > 4 {
		return 0
	}
	var n uint32
	for _, b := range v {
		n = n<<8 | uint32(b)
	}
	return n
}
