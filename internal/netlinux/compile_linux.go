package netlinux

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/ruleset"
)

// compiledRule is a rule in the kernel's terms.
type compiledRule struct {
	expressions []expr.Any
	comment     string
	err         error // of a match that can't be made
}

// compileRule returns the rules that a rule becomes. A statement that logs is limited
// and the limit ends its rule, so it is a rule of its own before the others.
func compileRule(family ruleset.Family, r ruleset.Rule) []compiledRule {
	var all []compiledRule
	var rest []ruleset.Statement
	for _, s := range r.Do {
		if _, limited := s.(ruleset.Log); limited {
			all = append(all, compileOne(family, r.Match, []ruleset.Statement{s}))
		} else {
			rest = append(rest, s)
		}
	}
	if len(rest) > 0 || len(all) == 0 {
		all = append(all, compileOne(family, r.Match, rest))
	}
	all[len(all)-1].comment = r.Comment
	return all
}

func compileOne(family ruleset.Family, matches []ruleset.Match, do []ruleset.Statement) compiledRule {
	c := compiler{family: family, known: map[need]bool{}}
	for _, m := range matches {
		c.match(m)
	}
	for _, s := range do {
		c.statement(s)
	}
	return compiledRule{expressions: c.out, err: c.err}
}

// compiler makes expressions as nft does.
type compiler struct {
	family ruleset.Family
	out    []expr.Any
	known  map[need]bool // what the expressions have made sure of
	err    error
}

func (c *compiler) emit(e ...expr.Any) { c.out = append(c.out, e...) }

func (c *compiler) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// first is the register that single values are in.
var first = register(0)

func (c *compiler) match(m ruleset.Match) {
	if m.Set != "" {
		c.load(m.Fields)
		c.emit(&expr.Lookup{SourceRegister: first, SetName: m.Set, Invert: m.Not})
		return
	}
	if len(m.Fields) != 1 {
		c.fail("a match of %d fields and no set", len(m.Fields))
		return
	}
	f, known := fieldsOf[m.Fields[0]]
	if !known {
		c.fail("no such field: %q", m.Fields[0])
		return
	}
	r, prefix := m.Range, m.PrefixLen
	ranges := r.Max != nil && !bytes.Equal(r.Min, r.Max)
	low, high := kernelValue(f, r.Min, ranges), kernelValue(f, r.Max, ranges)
	if low == nil || ranges && high == nil || prefix < 0 || prefix > 8*f.size {
		c.fail("%v does not fit the field", m)
		return
	}
	if length, is := prefixOf(r); is && ranges && f.size == 4 && !f.host {
		prefix, ranges = length, false
	}
	c.need(f)
	switch {
	case f.mask:
		c.emit(f.load(first), maskBits(low), &expr.Cmp{Op: equal(m.Not), Register: first, Data: make([]byte, f.size)})
	case prefix > 0 && prefix < 8*f.size:
		c.prefix(f, low, prefix, m.Not)
	case ranges:
		c.emit(f.load(first))
		c.between(f, low, high, m.Not)
	default:
		c.emit(f.load(first), &expr.Cmp{Op: equal(!m.Not), Register: first, Data: low})
		c.learn(m, low)
	}
}

// maskBits leaves the bits of a register that are set in the mask.
func maskBits(mask []byte) expr.Any {
	return &expr.Bitwise{
		SourceRegister: first, DestRegister: first, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask)),
	}
}

// prefix compares the leading bits: whole bytes are loaded alone.
func (c *compiler) prefix(f field, value []byte, length int, not bool) {
	if whole, is := f.load(first).(*expr.Payload); is && length%8 == 0 {
		whole.Len = uint32(length / 8)
		c.emit(whole, &expr.Cmp{Op: equal(!not), Register: first, Data: value[:length/8]})
		return
	}
	mask := make([]byte, f.size)
	for i := range length {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	c.emit(f.load(first), maskBits(mask), &expr.Cmp{Op: equal(!not), Register: first, Data: value})
}

// between compares with a range, for which numbers must be big-endian.
func (c *compiler) between(f field, low, high []byte, not bool) {
	if f.host {
		c.emit(&expr.Byteorder{
			SourceRegister: first, DestRegister: first, Op: expr.ByteorderHton, Len: uint32(f.size), Size: uint32(f.size),
		})
	}
	if not {
		c.emit(&expr.Range{Op: expr.CmpOpNeq, Register: first, FromData: low, ToData: high})
		return
	}
	c.emit(
		&expr.Cmp{Op: expr.CmpOpGte, Register: first, Data: low},
		&expr.Cmp{Op: expr.CmpOpLte, Register: first, Data: high},
	)
}

func equal(is bool) expr.CmpOp {
	if is {
		return expr.CmpOpEq
	}
	return expr.CmpOpNeq
}

// load puts fields into registers side by side.
func (c *compiler) load(fields []ruleset.Field) {
	slot := 0
	for _, name := range fields {
		f, known := fieldsOf[name]
		if !known {
			c.fail("no such field: %q", name)
			return
		}
		c.need(f)
	}
	for _, name := range fields {
		c.emit(fieldsOf[name].load(register(slot)))
		slot += slots(name)
	}
}

// prefixOf reports whether a range of four bytes each is a prefix of some bits.
func prefixOf(r ruleset.Range) (length int, is bool) {
	if len(r.Min) != 4 || len(r.Max) != 4 {
		return 0, false
	}
	low, high := binary.BigEndian.Uint32(r.Min), binary.BigEndian.Uint32(r.Max)
	rest := low ^ high
	length = bits.LeadingZeros32(rest)
	return length, length > 0 && rest&(rest+1) == 0 && low&rest == 0
}

// needs says how a need is looked for: what is loaded and compared with. A match of
// the field by the same value makes sure of it, too.
var needs = map[need]struct {
	field ruleset.Field
	key   expr.MetaKey
	value []byte
}{
	ethernet: {"", expr.MetaKeyIIFTYPE, binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_ETHER)},
	ipv4:     {ruleset.NFProto, expr.MetaKeyNFPROTO, []byte{unix.NFPROTO_IPV4}},
	arp:      {ruleset.EtherType, expr.MetaKeyPROTOCOL, binary.BigEndian.AppendUint16(nil, unix.ETH_P_ARP)},
	icmp:     {ruleset.L4Proto, expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_ICMP}},
	tcp:      {ruleset.L4Proto, expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP}},
}

// etherIPv4 is what ipv4 is in chains that see frames.
var etherIPv4 = binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP)

// need makes sure that the packet has a field, as nft does without being told.
func (c *compiler) need(f field) {
	if n := len(f.needs); n > 0 && c.known[f.needs[n-1]] {
		return // nft takes icmp for IPv4, if told so
	}
	for _, n := range f.needs {
		if c.known[n] || n == ipv4 && c.family == ruleset.IP {
			continue
		}
		c.known[n] = true
		check := needs[n]
		if n == ipv4 && c.family == ruleset.Netdev {
			check.key, check.value = expr.MetaKeyPROTOCOL, etherIPv4
		}
		c.emit(&expr.Meta{Key: check.key, Register: first}, &expr.Cmp{Op: expr.CmpOpEq, Register: first, Data: check.value})
	}
}

// learn remembers what a match makes sure of.
func (c *compiler) learn(m ruleset.Match, value []byte) {
	if m.Not {
		return
	}
	for n, check := range needs {
		if m.Fields[0] == check.field && bytes.Equal(value, check.value) {
			c.known[n] = true
		}
	}
	if c.family == ruleset.Netdev && m.Fields[0] == ruleset.EtherType && bytes.Equal(value, etherIPv4) {
		c.known[ipv4] = true
	}
}
