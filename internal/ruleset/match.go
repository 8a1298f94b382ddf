package ruleset

// Field is something of a packet that can be looked at, in the words of nft.
type Field string

// The fields. Each has one type: interface names, Ethernet addresses, IPv4
// addresses, numbers of 1, 2 or 4 bytes. As in nft, a match of a field that only one
// protocol has is false for the others: "ip saddr" for IPv6, "tcp flags" for UDP, and
// "ip saddr != X" as well.
const (
	InIface  Field = "iifname"
	OutIface Field = "oifname"

	EtherSource      Field = "ether saddr"
	EtherDestination Field = "ether daddr"
	EtherType        Field = "ether type" // ip, ip6, arp; of a tagged frame vlan
	ARPSourceIP      Field = "arp saddr ip"
	ARPSourceHW      Field = "arp saddr ether"
	ARPTargetIP      Field = "arp daddr ip"
	ARPTargetHW      Field = "arp daddr ether"

	Source      Field = "ip saddr"
	Destination Field = "ip daddr"
	L4Proto     Field = "meta l4proto"
	Port        Field = "th dport"  // destination port of tcp and udp
	ICMPType    Field = "icmp type" // echo-request
	TCPFlags    Field = "tcp flags" // a mask: any of the bits
	NFProto     Field = "meta nfproto"

	// The addresses of the packet that an ICMP error is about and quotes.
	QuotedSource      Field = "@th,160,32"
	QuotedDestination Field = "@th,192,32"

	Mark            Field = "meta mark"
	CTState         Field = "ct state"  // a mask: any of the bits
	CTStatus        Field = "ct status" // a mask: any of the bits
	CTDirection     Field = "ct direction"
	DestinationKind Field = "fib daddr type" // local
)

// Value is the value of one field, in network byte order; of a mark, a mask, an
// nfproto and the like in the field's own size, big-endian as well. netlinux
// knows which the kernel wants in host order.
type Value []byte

// Range is the values from Min to Max; a nil Max is Min alone.
type Range struct{ Min, Max Value }

// Match is a condition.
type Match struct {
	// Fields has one field, or several for a concatenation that is looked up in Set.
	Fields []Field
	Not    bool
	// Set is the name of a set in the same table. Otherwise Range or Prefix is used.
	Set string
	// Range is what the field must be in. For a mask it is the bits of Min, any of
	// which must be set.
	Range Range
	// PrefixLen with Range.Min is an IPv4 prefix. 0: not a prefix.
	PrefixLen int
}

// Bits of CTState and CTStatus (linux/netfilter/nf_conntrack_common.h; the state
// as nft_ct has it, 1 << ctinfo). Invalid and untracked packets have no connection:
// CTStatus and CTDirection match none of them.
const (
	StateInvalid     = 1
	StateEstablished = 2
	StateRelated     = 4
	StateNew         = 8
	StateUntracked   = 64

	StatusDNAT = 1 << 5
)

// Values of CTDirection and DestinationKind (RTN_LOCAL).
const (
	DirectionOriginal = 0
	DirectionReply    = 1

	KindLocal = 2
)
