package ruleset

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// types are nft's names of the types of fields, for the declaration of sets.
var types = map[Field]string{
	InIface: "ifname", OutIface: "ifname",
	EtherSource: "ether_addr", EtherDestination: "ether_addr", ARPSourceHW: "ether_addr", ARPTargetHW: "ether_addr", EtherType: "ether_type",
	Source: "ipv4_addr", Destination: "ipv4_addr", ARPSourceIP: "ipv4_addr", ARPTargetIP: "ipv4_addr",
	L4Proto: "inet_proto", Port: "inet_service", ICMPType: "icmp_type", TCPFlags: "tcp_flag", NFProto: "nf_proto",
	Mark: "mark", CTState: "ct_state", CTStatus: "ct_status", CTDirection: "ct_dir", DestinationKind: "fib_addrtype",
}

// symbols are nft's names of values. Others are written as numbers.
var symbols = map[Field]map[uint32]string{
	EtherType:       {0x0800: "ip", 0x0806: "arp", 0x8100: "vlan", 0x86dd: "ip6"},
	L4Proto:         {1: "icmp", 6: "tcp", 17: "udp"},
	ICMPType:        {0: "echo-reply", 8: "echo-request"},
	NFProto:         {2: "ipv4", 10: "ipv6"},
	CTDirection:     {DirectionOriginal: "original", DirectionReply: "reply"},
	DestinationKind: {KindLocal: "local"},
}

// bits are nft's names of the bits of masks.
var bits = map[Field]map[uint32]string{
	CTState: {
		StateInvalid: "invalid", StateEstablished: "established", StateRelated: "related", StateNew: "new",
		StateUntracked: "untracked",
	},
	CTStatus: {1 << 4: "snat", StatusDNAT: "dnat"},
	TCPFlags: {1: "fin", 2: "syn", 4: "rst", 8: "psh", 16: "ack", 32: "urg"},
}

// value returns what nft writes for a value of the field.
func (f Field) value(v Value) string {
	switch {
	case types[f] == "ifname":
		return quote(string(v))
	case types[f] == "ether_addr" && len(v) == 6:
		return net.HardwareAddr(v).String()
	case types[f] == "ipv4_addr" && len(v) == 4:
		addr, _ := netip.AddrFromSlice(v)
		return addr.String()
	case f == Mark, f == QuotedSource, f == QuotedDestination:
		return hexadecimal(v)
	}
	if name, named := symbols[f][v.number()]; named {
		return name
	}
	if len(v) > 4 {
		return hexadecimal(v)
	}
	return strconv.FormatUint(uint64(v.number()), 10)
}

// mask returns the names of the bits that are set, "" for a field that is no mask
// or has a bit without a name.
func (f Field) mask(v Value, separator string) string {
	names := bits[f]
	var set []string
	for bit := range 32 {
		if v.number()&(1<<bit) == 0 {
			continue
		}
		name, named := names[1<<bit]
		if !named {
			return ""
		}
		set = append(set, name)
	}
	return strings.Join(set, separator)
}

// values returns a range, an IPv4 prefix where it is one.
func (f Field) values(r Range) string {
	if r.Max == nil || string(r.Min) == string(r.Max) {
		return f.value(r.Min)
	}
	if length, is := prefixLen(r); is && types[f] == "ipv4_addr" {
		return f.value(r.Min) + "/" + strconv.Itoa(length)
	}
	if _, named := symbols[f]; named { // nft reads tcp-udp as a name
		return strconv.Itoa(int(r.Min.number())) + "-" + strconv.Itoa(int(r.Max.number()))
	}
	return f.value(r.Min) + "-" + f.value(r.Max)
}

// prefixLen reports whether a range of four bytes each is a prefix.
func prefixLen(r Range) (int, bool) {
	if len(r.Min) != 4 || len(r.Max) != 4 {
		return 0, false
	}
	low, high := r.Min.number(), r.Max.number()
	for length := range 33 {
		if host := uint32(uint64(1)<<(32-length) - 1); low&host == 0 && low|host == high {
			return length, true
		}
	}
	return 0, false
}

func hexadecimal(v Value) string { return "0x" + hex.EncodeToString(v) }

// quote returns a string for nft, which knows no escapes.
func quote(text string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r == 0x7f:
			return '?'
		}
		return r
	}, text)
	return `"` + clean + `"`
}

// join writes a concatenation.
func join[T any](parts []T, text func(int, T) string) string {
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = text(i, part)
	}
	return strings.Join(texts, " . ")
}

func concatenation(fields []Field) string {
	return join(fields, func(_ int, f Field) string { return string(f) })
}

func typesOf(fields []Field) string {
	return join(fields, func(_ int, f Field) string { return types[f] })
}
