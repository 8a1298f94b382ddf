package netplan

import (
	"net/netip"

	"github.com/smartvm/smartvm/internal/ruleset"
)

// Protocol numbers (RFC 790) and other values of packets.
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
	protoLast = 255

	echoRequest = 8
	flagSYN     = 2
	nfprotoIPv4 = 2
	nfprotoIPv6 = 10
	etherIPv4   = 0x0800
	etherARP    = 0x0806
	etherIPv6   = 0x86dd
)

func is(field ruleset.Field, v ruleset.Value) ruleset.Match {
	return ruleset.Match{Fields: []ruleset.Field{field}, Range: ruleset.Range{Min: v}}
}

func isNot(field ruleset.Field, v ruleset.Value) ruleset.Match {
	m := is(field, v)
	m.Not = true
	return m
}

func within(field ruleset.Field, p netip.Prefix) ruleset.Match {
	m := is(field, ruleset.Addr(p.Masked().Addr()))
	m.PrefixLen = p.Bits()
	return m
}

func notWithin(field ruleset.Field, p netip.Prefix) ruleset.Match {
	m := within(field, p)
	m.Not = true
	return m
}

// inSet looks a concatenation of fields up in a set.
func inSet(set string, fields ...ruleset.Field) ruleset.Match {
	return ruleset.Match{Fields: fields, Set: set}
}

// from and to are about the interface that a packet comes from, and leaves through.
func from(iface string) ruleset.Match    { return is(ruleset.InIface, ruleset.Name(iface)) }
func notFrom(iface string) ruleset.Match { return isNot(ruleset.InIface, ruleset.Name(iface)) }
func to(iface string) ruleset.Match      { return is(ruleset.OutIface, ruleset.Name(iface)) }
func notTo(iface string) ruleset.Match   { return isNot(ruleset.OutIface, ruleset.Name(iface)) }

func state(bits uint32) ruleset.Match { return is(ruleset.CTState, ruleset.Number32(bits)) }
func protocol(n uint8) ruleset.Match  { return is(ruleset.L4Proto, ruleset.Number8(n)) }
func reply() ruleset.Match            { return is(ruleset.CTDirection, ruleset.Number8(ruleset.DirectionReply)) }

func translated() ruleset.Match { return is(ruleset.CTStatus, ruleset.Number32(ruleset.StatusDNAT)) }

func toHost() ruleset.Match            { return is(ruleset.DestinationKind, ruleset.Number32(ruleset.KindLocal)) }
func etherType(n uint16) ruleset.Match { return is(ruleset.EtherType, ruleset.Number16(n)) }

// drop is a rule that counts what it drops; its comment says what that was.
func drop(what string, when ...ruleset.Match) ruleset.Rule {
	return ruleset.Rule{
		Match:   when,
		Do:      []ruleset.Statement{ruleset.Counter{}, ruleset.Verdict{Kind: ruleset.Drop}},
		Comment: what,
	}
}

func accept(when ...ruleset.Match) ruleset.Rule {
	return does(ruleset.Verdict{Kind: ruleset.Accept}, when...)
}

func jump(chain string, when ...ruleset.Match) ruleset.Rule {
	return does(ruleset.Verdict{Kind: ruleset.Jump, Chain: chain}, when...)
}

func does(what ruleset.Statement, when ...ruleset.Match) ruleset.Rule {
	return ruleset.Rule{Match: when, Do: []ruleset.Statement{what}}
}
