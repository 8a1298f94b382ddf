package netplan_test

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// packet is what rules can look at. The zero state is the first packet of a connection.
type packet struct {
	in       string
	v6       bool
	from, to netip.Addr
	proto    uint8
	port     uint16 // of a protocol without ports: bytes that mean something else
	icmpType uint8
	state    uint32
	reply    bool
	dnat     bool

	mac       netplan.HardwareAddr
	etherType uint16
	arpMAC    netplan.HardwareAddr
	arpIP     netip.Addr

	out    string
	mark   uint32
	masked bool // has the address of the outgoing interface

	clamped bool // has a segment size that fits
}

// machine takes packets through tables as the kernel does.
type machine struct {
	tb     testing.TB
	tables []ruleset.Table
	own    []netip.Addr                   // addresses of the host
	route  func(p packet) (device string) // of packets that are not for the host
}

func (m machine) value(f ruleset.Field, p packet) []byte {
	v4 := func(a netip.Addr) []byte {
		if p.v6 || !a.Is4() {
			return nil
		}
		return a.AsSlice()
	}
	switch f {
	case ruleset.InIface:
		return []byte(p.in)
	case ruleset.OutIface:
		return []byte(p.out)
	case ruleset.Source:
		return v4(p.from)
	case ruleset.Destination:
		return v4(p.to)
	case ruleset.L4Proto:
		return ruleset.Number8(p.proto)
	case ruleset.Port:
		return ruleset.Number16(p.port)
	case ruleset.ICMPType:
		if p.proto == 1 {
			return ruleset.Number8(p.icmpType)
		}
	case ruleset.TCPFlags:
		if p.proto == 6 {
			return ruleset.Number8(2)
		}
	case ruleset.NFProto:
		if p.v6 {
			return ruleset.Number8(10)
		}
		return ruleset.Number8(2)
	case ruleset.EtherSource:
		return p.mac[:]
	case ruleset.EtherType:
		return ruleset.Number16(p.etherType)
	case ruleset.ARPSourceHW:
		return p.arpMAC[:]
	case ruleset.ARPSourceIP:
		return v4(p.arpIP)
	default:
		return m.connection(f, p)
	}
	return nil
}

func (m machine) connection(f ruleset.Field, p packet) []byte {
	known := p.state&(ruleset.StateInvalid|ruleset.StateUntracked) == 0
	switch {
	case f == ruleset.CTState:
		return ruleset.Number32(cmp.Or(p.state, ruleset.StateNew))
	case f == ruleset.CTDirection && known:
		direction := uint8(ruleset.DirectionOriginal)
		if p.reply {
			direction = ruleset.DirectionReply
		}
		return ruleset.Number8(direction)
	case f == ruleset.CTStatus && known:
		status := uint32(0)
		if p.dnat {
			status = ruleset.StatusDNAT
		}
		return ruleset.Number32(status)
	case f == ruleset.DestinationKind:
		kind := uint32(1) // unicast
		if m.isOwn(p.to) {
			kind = ruleset.KindLocal
		}
		return ruleset.Number32(kind)
	case known:
		m.tb.Fatalf("the machine does not know %q", f)
	}
	return nil
}

func (m machine) isOwn(a netip.Addr) bool { return a.IsLoopback() || slices.Contains(m.own, a) }

func within(v []byte, r ruleset.Range) bool {
	high := r.Max
	if high == nil {
		high = r.Min
	}
	return len(v) == len(r.Min) && bytes.Compare(r.Min, v) <= 0 && bytes.Compare(v, high) <= 0
}

// find returns the element that a packet meets; there can be one at most.
func (m machine) find(t ruleset.Table, set string, key []ruleset.Field, p packet) *ruleset.Element {
	i := slices.IndexFunc(t.Sets, func(s ruleset.Set) bool { return s.Name == set })
	if i < 0 || !slices.Equal(t.Sets[i].Key, key) {
		m.tb.Fatalf("no set %s with the key %v", set, key)
	}
	values := make([][]byte, len(key))
	for i, f := range key {
		values[i] = m.value(f, p)
	}
	var found *ruleset.Element
	for j := range t.Sets[i].Elements {
		e := &t.Sets[i].Elements[j]
		meets := true
		for k, r := range e.Key {
			meets = meets && within(values[k], r)
		}
		if meets && found != nil {
			m.tb.Fatalf("%s: both %v and %v are met by %v", set, found, e, p)
		}
		if meets {
			found = e
		}
	}
	return found
}

func (m machine) matches(t ruleset.Table, c ruleset.Match, p packet) bool {
	if c.Set != "" {
		return (m.find(t, c.Set, c.Fields, p) != nil) != c.Not
	}
	v := m.value(c.Fields[0], p)
	if v == nil {
		return false // of a protocol that has no such field
	}
	switch f := c.Fields[0]; {
	case f == ruleset.CTState || f == ruleset.CTStatus || f == ruleset.TCPFlags:
		hit := false
		for i := range v {
			hit = hit || v[i]&c.Range.Min[i] != 0
		}
		return hit != c.Not
	case c.PrefixLen > 0:
		low, _ := netip.AddrFromSlice(c.Range.Min)
		addr, _ := netip.AddrFromSlice(v)
		return netip.PrefixFrom(low, c.PrefixLen).Contains(addr) != c.Not
	}
	return within(v, c.Range) != c.Not
}

// run takes a packet through a chain. It returns accept, drop or "" and the comment of
// what decided.
func (m machine) run(t ruleset.Table, c ruleset.Chain, p *packet) (ruleset.VerdictKind, string) {
	for _, r := range c.Rules {
		if slices.ContainsFunc(r.Match, func(c ruleset.Match) bool { return !m.matches(t, c, *p) }) {
			continue
		}
		for _, s := range r.Do {
			v, why := m.do(t, s, p)
			switch v.Kind {
			case ruleset.Accept, ruleset.Drop:
				return v.Kind, cmp.Or(why, r.Comment)
			case ruleset.Return:
				return "", cmp.Or(why, r.Comment)
			case ruleset.Jump, ruleset.Goto:
				kind, inner := m.run(t, m.chain(t, v.Chain), p)
				if kind != "" || v.Kind == ruleset.Goto {
					return kind, cmp.Or(inner, why)
				}
			}
		}
	}
	return "", ""
}

// chain returns the chain of that name, or the one whose name ends with it if it begins with _.
func (m machine) chain(t ruleset.Table, name string) ruleset.Chain {
	i := slices.IndexFunc(t.Chains, func(c ruleset.Chain) bool {
		return c.Name == name || name[0] == '_' && strings.HasSuffix(c.Name, name)
	})
	if i < 0 {
		m.tb.Fatalf("no chain %s", name)
	}
	return t.Chains[i]
}

// do returns the verdict of a statement, if it has one, and the comment of an element.
func (m machine) do(t ruleset.Table, s ruleset.Statement, p *packet) (ruleset.Verdict, string) {
	switch s := s.(type) {
	case ruleset.Verdict:
		return s, ""
	case ruleset.VerdictMap:
		if e := m.find(t, s.Map, s.Key, *p); e != nil {
			return *e.Verdict, e.Comment
		}
	case ruleset.DNAT:
		if e := m.find(t, s.Map, s.Key, *p); e != nil {
			p.to, _ = netip.AddrFromSlice(e.Data[0])
			p.port = uint16(e.Data[1][0])<<8 | uint16(e.Data[1][1])
			p.dnat = true
			return ruleset.Verdict{Kind: ruleset.Accept}, ""
		}
	case ruleset.Masquerade:
		p.masked = true
		return ruleset.Verdict{Kind: ruleset.Accept}, ""
	case ruleset.SetMark:
		p.mark = s.Mark
	case ruleset.ClampMSS:
		p.clamped = true
	case ruleset.Counter, ruleset.Log:
	default:
		m.tb.Fatalf("the machine does not know %v", s)
	}
	return ruleset.Verdict{}, ""
}

// hook takes a packet through the base chains of one point, and returns why it was
// dropped, "" if it was not.
func (m machine) hook(point string, p *packet) string {
	type base struct {
		table ruleset.Table
		chain ruleset.Chain
	}
	var all []base
	for _, t := range m.tables {
		for _, c := range t.Chains {
			here := c.Hook != nil && c.Hook.Point == point && (c.Hook.Device == "" || c.Hook.Device == p.in)
			first := p.state&^ruleset.StateNew == 0 && !p.reply // the only one that nat chains see
			if here && (c.Hook.Type != "nat" || first) {
				all = append(all, base{t, c})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b base) int { return cmp.Compare(a.chain.Hook.Priority, b.chain.Hook.Priority) })
	for _, b := range all {
		switch kind, why := m.run(b.table, b.chain, p); {
		case kind == ruleset.Drop:
			return why
		case kind == "" && b.chain.Hook.Drop:
			return "policy of " + b.chain.Name
		}
	}
	return ""
}

// send returns what becomes of a packet that comes in: "drop: why", "host", or
// where it leaves.
func (m machine) send(p packet) string {
	if why := m.hook("prerouting", &p); why != "" {
		return "drop: " + why
	}
	if m.isOwn(p.to) {
		if why := m.hook("input", &p); why != "" {
			return "drop: " + why
		}
		return "host"
	}
	p.out = m.route(p)
	if why := m.hook("forward", &p); why != "" {
		return "drop: " + why
	}
	return m.leave(p)
}

// open is [machine.send] for a connection of the host itself.
func (m machine) open(p packet) string {
	if why := m.hook("output", &p); why != "" {
		return "drop: " + why
	}
	if m.isOwn(p.to) {
		return "host"
	}
	p.out = m.route(p)
	return m.leave(p)
}

func (m machine) leave(p packet) string {
	if why := m.hook("postrouting", &p); why != "" {
		return "drop: " + why
	}
	text := fmt.Sprintf("%s to %v:%d", p.out, p.to, p.port)
	if p.masked {
		text += ", masqueraded"
	}
	return text
}

// frame returns what becomes of a frame that comes out of a TAP: "" if it goes on.
func (m machine) frame(p packet) string { return m.hook("ingress", &p) }
