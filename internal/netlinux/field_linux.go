package netlinux

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/ruleset"
)

// field says how the kernel has a field of a packet.
type field struct {
	kind *nftables.SetDatatype
	size int // bytes
	// host is set when the kernel has the number in the host's byte order.
	host bool
	// mask is set when a match is about bits.
	mask bool
	// needs are what a packet must be for the field to be there, in the order in which
	// nft looks.
	needs []need
	load  func(register uint32) expr.Any
	// sum is what a change of the field means for checksums.
	sum checksum
}

// checksum is the Internet checksum that covers a field, by its place in the header;
// 0 is none.
type checksum struct {
	offset uint32
	pseudo bool // the transport's checksum covers the field as well
}

// need is what a packet must be.
type need int

const (
	ethernet need = iota
	ipv4
	arp
	icmp
	tcp
)

// Headers that offsets count from.
const (
	inLink      = expr.PayloadBaseLLHeader
	inNetwork   = expr.PayloadBaseNetworkHeader
	inTransport = expr.PayloadBaseTransportHeader
)

const ifNameSize = unix.IFNAMSIZ

// fieldsOf has the fields in the encoding that nft uses for them, so that nft lists
// what is made of them as it is written.
var fieldsOf = map[ruleset.Field]field{
	ruleset.InIface:  {kind: &nftables.TypeIFName, size: ifNameSize, load: meta(expr.MetaKeyIIFNAME)},
	ruleset.OutIface: {kind: &nftables.TypeIFName, size: ifNameSize, load: meta(expr.MetaKeyOIFNAME)},

	ruleset.EtherSource:      {kind: &nftables.TypeEtherAddr, size: 6, needs: []need{ethernet}, load: payload(inLink, 6, 6)},
	ruleset.EtherDestination: {kind: &nftables.TypeEtherAddr, size: 6, needs: []need{ethernet}, load: payload(inLink, 0, 6)},
	// Of the frame as it was: the kernel takes a VLAN's tag out before, and meta protocol is
	// what was behind it.
	ruleset.EtherType:   {kind: &nftables.TypeEtherType, size: 2, needs: []need{ethernet}, load: payload(inLink, 12, 2)},
	ruleset.ARPSourceHW: {kind: &nftables.TypeEtherAddr, size: 6, needs: []need{arp}, load: payload(inNetwork, 8, 6)},
	ruleset.ARPSourceIP: {kind: &nftables.TypeIPAddr, size: 4, needs: []need{arp}, load: payload(inNetwork, 14, 4)},
	ruleset.ARPTargetHW: {kind: &nftables.TypeEtherAddr, size: 6, needs: []need{arp}, load: payload(inNetwork, 18, 6)},
	ruleset.ARPTargetIP: {kind: &nftables.TypeIPAddr, size: 4, needs: []need{arp}, load: payload(inNetwork, 24, 4)},

	ruleset.Source:      {kind: &nftables.TypeIPAddr, size: 4, needs: []need{ipv4}, load: payload(inNetwork, 12, 4), sum: checksum{10, true}},
	ruleset.Destination: {kind: &nftables.TypeIPAddr, size: 4, needs: []need{ipv4}, load: payload(inNetwork, 16, 4), sum: checksum{10, true}},
	ruleset.L4Proto:     {kind: &nftables.TypeInetProto, size: 1, load: meta(expr.MetaKeyL4PROTO)},
	ruleset.Port:        {kind: &nftables.TypeInetService, size: 2, load: payload(inTransport, 2, 2)},
	ruleset.ICMPType:    {kind: &nftables.TypeICMPType, size: 1, needs: []need{ipv4, icmp}, load: payload(inTransport, 0, 1)},
	ruleset.TCPFlags:    {kind: &nftables.TypeTCPFlag, size: 1, mask: true, needs: []need{tcp}, load: payload(inTransport, 13, 1)},
	// An ICMP error has eight bytes before the header that it quotes. If the checksum of that
	// header is kept right, the sum of its bytes does not change, nor that of the error.
	ruleset.QuotedSource:      {kind: &nftables.TypeIPAddr, size: 4, needs: []need{ipv4, icmp}, load: payload(inTransport, 20, 4), sum: checksum{18, false}},
	ruleset.QuotedDestination: {kind: &nftables.TypeIPAddr, size: 4, needs: []need{ipv4, icmp}, load: payload(inTransport, 24, 4), sum: checksum{18, false}},
	ruleset.NFProto:           {kind: &nftables.TypeNFProto, size: 1, load: meta(expr.MetaKeyNFPROTO)},

	ruleset.Mark:        {kind: &nftables.TypeMark, size: 4, host: true, load: meta(expr.MetaKeyMARK)},
	ruleset.CTState:     {kind: &nftables.TypeCTState, size: 4, host: true, mask: true, load: conntrack(expr.CtKeySTATE)},
	ruleset.CTStatus:    {kind: &nftables.TypeCTStatus, size: 4, host: true, mask: true, load: conntrack(expr.CtKeySTATUS)},
	ruleset.CTDirection: {kind: &nftables.TypeCTDir, size: 1, load: conntrack(expr.CtKeyDIRECTION)},
	ruleset.DestinationKind: {kind: &nftables.TypeFIBAddr, size: 4, host: true, load: func(register uint32) expr.Any {
		return &expr.Fib{Register: register, FlagDADDR: true, ResultADDRTYPE: true}
	}},
}

func meta(key expr.MetaKey) func(uint32) expr.Any {
	return func(register uint32) expr.Any { return &expr.Meta{Key: key, Register: register} }
}

func payload(base expr.PayloadBase, offset, size uint32) func(uint32) expr.Any {
	return func(register uint32) expr.Any {
		return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: size}
	}
}

func conntrack(key expr.CtKey) func(uint32) expr.Any {
	return func(register uint32) expr.Any { return &expr.Ct{Key: key, Register: register} }
}

// kernelValue returns a value as the kernel compares it, nil if it is none of the
// field. For ranges all numbers are big-endian.
func kernelValue(f field, v ruleset.Value, ranges bool) []byte {
	if ranges {
		f.host = false
	}
	var value attributes
	if !value.register(f, v) {
		return nil
	}
	return value
}

// fieldsFor returns what is known about fields.
func fieldsFor(names []ruleset.Field) []field {
	all := make([]field, len(names))
	for i, name := range names {
		all[i] = fieldsOf[name]
	}
	return all
}

// sizeOf returns the size of values side by side.
func sizeOf(fields []ruleset.Field) (size uint32) {
	if len(fields) == 1 {
		return uint32(fieldsOf[fields[0]].size)
	}
	for _, f := range fields {
		size += uint32(slots(f) * registerSize)
	}
	return size
}

// registerSize is the size of a small register. Four of them make a large one, which
// has a number of its own: the first small one is the first large one as well.
const registerSize = 4

// slots returns how many small registers a field takes.
func slots(f ruleset.Field) int { return (fieldsOf[f].size + registerSize - 1) / registerSize }

// register returns the number under which the kernel shows the small register at
// an index (nft_dump_register in nf_tables_api.c).
func register(slot int) uint32 {
	const large = unix.NFT_REG_SIZE / registerSize
	if slot%large == 0 {
		return uint32(unix.NFT_REG_1 + slot/large)
	}
	return uint32(unix.NFT_REG32_00 + slot)
}
