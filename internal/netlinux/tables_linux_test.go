package netlinux_test

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// Short ways to write rules.

func is(f ruleset.Field, v ruleset.Value) ruleset.Match {
	return ruleset.Match{Fields: []ruleset.Field{f}, Range: ruleset.Range{Min: v}}
}

func in(f ruleset.Field, low, high ruleset.Value) ruleset.Match {
	return ruleset.Match{Fields: []ruleset.Field{f}, Range: ruleset.Range{Min: low, Max: high}}
}

func within(f ruleset.Field, text string) ruleset.Match {
	p := netip.MustParsePrefix(text)
	m := is(f, ruleset.Addr(p.Addr()))
	m.PrefixLen = p.Bits()
	return m
}

func inSet(set string, fields ...ruleset.Field) ruleset.Match {
	return ruleset.Match{Fields: fields, Set: set}
}

func not(m ruleset.Match) ruleset.Match {
	m.Not = true
	return m
}

func rule(do []ruleset.Statement, when ...ruleset.Match) ruleset.Rule {
	return ruleset.Rule{Match: when, Do: do}
}

func do(s ...ruleset.Statement) []ruleset.Statement { return s }

func addr(text string) ruleset.Value { return ruleset.Addr(netip.MustParseAddr(text)) }

func one(v ruleset.Value) ruleset.Range { return ruleset.Range{Min: v} }

var (
	accept = ruleset.Verdict{Kind: ruleset.Accept}
	drop   = ruleset.Verdict{Kind: ruleset.Drop}
	count  = ruleset.Counter{}
)

func n8(n uint8) ruleset.Value    { return ruleset.Number8(n) }
func n16(n uint16) ruleset.Value  { return ruleset.Number16(n) }
func n32(n uint32) ruleset.Value  { return ruleset.Number32(n) }
func name(n string) ruleset.Value { return ruleset.Name(n) }

// base returns a base chain of the family inet or ip.
func base(name, kind, point string, priority int, rules ...ruleset.Rule) ruleset.Chain {
	return ruleset.Chain{Name: name, Hook: &ruleset.Hook{Type: kind, Point: point, Priority: priority}, Rules: rules}
}

// everything has each field, match and statement that rulesets know.
func everything(device string) []ruleset.Table {
	ports := []ruleset.Field{ruleset.L4Proto, ruleset.Port}
	addrPorts := append([]ruleset.Field{ruleset.Destination}, ports...)
	jump := func(chain string) *ruleset.Verdict { return &ruleset.Verdict{Kind: ruleset.Jump, Chain: chain} }
	sets := []ruleset.Set{
		{Name: "ports", Key: ports, Comment: "of services", Elements: []ruleset.Element{
			{Key: []ruleset.Range{one(n8(6)), one(n16(53))}, Comment: "names"}, {Key: []ruleset.Range{one(n8(17)), one(n16(53))}},
		}},
		{Name: "links", Key: []ruleset.Field{ruleset.InIface}, Elements: []ruleset.Element{{Key: []ruleset.Range{one(name("lo"))}}}},
		{Name: "macs", Key: []ruleset.Field{ruleset.EtherSource, ruleset.Source}, Elements: []ruleset.Element{
			{Key: []ruleset.Range{one(ruleset.Value{2, 0, 0, 0, 0, 1}), one(addr("192.0.2.1"))}},
		}},
		{Name: "marks", Key: []ruleset.Field{ruleset.Mark}, Elements: []ruleset.Element{{Key: []ruleset.Range{one(n32(0x1234))}}}},
		{Name: "many", Key: []ruleset.Field{ruleset.InIface, ruleset.Mark, ruleset.Port}, Elements: []ruleset.Element{
			{Key: []ruleset.Range{one(name("eth0")), one(n32(7)), one(n16(80))}},
		}},
		{Name: "nets", Key: []ruleset.Field{ruleset.Source}, Interval: true, Elements: []ruleset.Element{
			{Key: []ruleset.Range{{Min: addr("10.0.0.0"), Max: addr("10.255.255.255")}}, Comment: "ten"},
			{Key: []ruleset.Range{{Min: addr("11.0.0.0"), Max: addr("11.0.0.7")}}},
			{Key: []ruleset.Range{one(addr("192.0.2.77"))}},
			{Key: []ruleset.Range{{Min: addr("240.0.0.0"), Max: addr("255.255.255.255")}}},
		}},
		{Name: "policies", Key: []ruleset.Field{ruleset.Source}, Verdicts: true, Comment: "of guests", Elements: []ruleset.Element{
			{Key: []ruleset.Range{one(addr("172.30.0.2"))}, Verdict: jump("other"), Comment: "web"},
			{Key: []ruleset.Range{one(addr("172.30.0.3"))}, Verdict: &ruleset.Verdict{Kind: ruleset.Goto, Chain: "other"}},
			{Key: []ruleset.Range{one(addr("172.30.0.4"))}, Verdict: &accept},
		}},
		{Name: "forwards", Key: addrPorts, Data: []ruleset.Field{ruleset.Destination, ruleset.Port}, Elements: []ruleset.Element{{
			Key:  []ruleset.Range{one(addr("127.0.0.1")), one(n8(6)), one(n16(8080))},
			Data: []ruleset.Value{addr("172.30.0.2"), n16(80)}, Comment: "web",
		}}},
		{Name: "egress", Key: addrPorts, Verdicts: true, Interval: true, Counter: true, Comment: "layer 1", Elements: []ruleset.Element{
			{Key: []ruleset.Range{{Min: addr("10.0.0.0"), Max: addr("10.255.255.255")}, one(n8(6)), {Min: n16(80), Max: n16(90)}}, Verdict: &drop, Comment: "rule 0"},
			{Key: []ruleset.Range{one(addr("11.0.0.1")), {Min: n8(0), Max: n8(255)}, one(n16(443))}, Verdict: &ruleset.Verdict{Kind: ruleset.Return}, Comment: "rule 1"},
			{Key: []ruleset.Range{{Min: addr("12.0.0.3"), Max: addr("12.0.0.9")}, one(n8(17)), {Min: n16(0), Max: n16(65535)}}, Verdict: jump("other")},
		}},
	}
	var fields []ruleset.Rule
	for _, m := range []ruleset.Match{
		is(ruleset.InIface, name("svbr0")), is(ruleset.OutIface, name("svbr0")),
		is(ruleset.EtherSource, ruleset.Value{2, 0, 0, 0, 0, 1}), is(ruleset.EtherType, n16(0x0800)),
		is(ruleset.Source, addr("192.0.2.1")), is(ruleset.Destination, addr("192.0.2.1")),
		is(ruleset.L4Proto, n8(17)), in(ruleset.L4Proto, n8(6), n8(17)), is(ruleset.Port, n16(80)), in(ruleset.Port, n16(80), n16(90)),
		is(ruleset.ICMPType, n8(8)), is(ruleset.NFProto, n8(10)), is(ruleset.TCPFlags, n8(2)), is(ruleset.TCPFlags, n8(3)),
		is(ruleset.Mark, n32(0x123)), in(ruleset.Mark, n32(5), n32(10)), is(ruleset.CTState, n32(ruleset.StateInvalid|ruleset.StateUntracked)),
		is(ruleset.CTState, n32(ruleset.StateNew)), is(ruleset.CTStatus, n32(ruleset.StatusDNAT)), is(ruleset.CTDirection, n8(ruleset.DirectionReply)),
		is(ruleset.DestinationKind, n32(ruleset.KindLocal)),
		within(ruleset.Source, "10.0.0.0/8"), within(ruleset.Destination, "172.16.0.0/12"), within(ruleset.Source, "192.0.2.0/24"), within(ruleset.Source, "192.0.2.1/32"),
		in(ruleset.Source, addr("10.0.0.1"), addr("10.0.0.9")), in(ruleset.Destination, addr("10.0.0.0"), addr("10.0.0.255")),
		inSet("ports", ports...), inSet("links", ruleset.InIface), inSet("macs", ruleset.EtherSource, ruleset.Source), inSet("marks", ruleset.Mark),
		inSet("many", ruleset.InIface, ruleset.Mark, ruleset.Port), inSet("nets", ruleset.Source),
	} {
		fields = append(fields, rule(do(count), m), rule(do(accept), not(m)))
	}
	guarded := []ruleset.Rule{
		rule(do(accept), is(ruleset.EtherSource, ruleset.Value{2, 0, 0, 0, 0, 1}), is(ruleset.EtherType, n16(0x0800)), is(ruleset.Source, addr("192.0.2.1"))),
		rule(do(accept), is(ruleset.ARPSourceHW, ruleset.Value{2, 0, 0, 0, 0, 1}), is(ruleset.ARPSourceIP, addr("192.0.2.1"))),
		rule(do(accept), is(ruleset.EtherType, n16(0x0806)), not(is(ruleset.ARPSourceIP, addr("192.0.2.1")))),
		rule(do(count, drop), in(ruleset.EtherType, n16(0x0800), n16(0x0806))),
		rule(do(accept), within(ruleset.Source, "192.0.2.0/25"), is(ruleset.Port, n16(80))),
		rule(do(accept), is(ruleset.L4Proto, n8(1)), is(ruleset.ICMPType, n8(0))),
		rule(do(ruleset.Log{Prefix: "guard", PerSecond: 3}, count)),
	}
	syn := []ruleset.Match{is(ruleset.OutIface, name("svbr0")), is(ruleset.L4Proto, n8(6)), is(ruleset.TCPFlags, n8(2))}
	limited := rule(do(ruleset.Log{Prefix: "smartvm 1: ", PerSecond: 10}, count, drop), within(ruleset.Source, "10.0.0.0/9"))
	limited.Comment = "logged"
	return []ruleset.Table{
		{Family: ruleset.Inet, Name: "smartvm-every", Comment: mark, Sets: sets, Chains: []ruleset.Chain{
			{Name: "other", Rules: []ruleset.Rule{rule(do(ruleset.Verdict{Kind: ruleset.Return}))}},
			base("fields", "filter", "prerouting", -300, fields...),
			base("statements", "filter", "forward", -10,
				limited,
				rule(do(ruleset.Log{Prefix: "all"})),
				rule(do(ruleset.VerdictMap{Key: []ruleset.Field{ruleset.Source}, Map: "policies"})),
				rule(do(ruleset.VerdictMap{Key: addrPorts, Map: "egress"})),
				rule(do(ruleset.SetMark{Mark: 0x51820}, *jump("other"))),
				rule(do(ruleset.ClampMSS{}), syn...),
				rule(do(ruleset.Verdict{Kind: ruleset.Goto, Chain: "other"})),
			),
			{Name: "droppy", Hook: &ruleset.Hook{Type: "filter", Point: "input", Priority: 17, Drop: true}},
			base("marks", "route", "output", -150),
			base("forwarded", "nat", "prerouting", -100, rule(do(ruleset.DNAT{Key: addrPorts, Map: "forwards"}), is(ruleset.DestinationKind, n32(ruleset.KindLocal)))),
			base("leaving", "nat", "postrouting", 100, rule(do(ruleset.Masquerade{}), not(is(ruleset.OutIface, name("svbr0"))))),
		}},
		{Family: ruleset.IP, Name: "smartvm-every", Comment: mark, Chains: []ruleset.Chain{base("forward", "filter", "forward", 0,
			rule(do(accept), is(ruleset.Source, addr("192.0.2.1")), is(ruleset.ICMPType, n8(8))),
			rule(do(ruleset.ClampMSS{}), is(ruleset.TCPFlags, n8(2))),
		)}},
		{Family: ruleset.Netdev, Name: "smartvm-every", Comment: mark, Chains: []ruleset.Chain{
			{Name: "guard", Hook: &ruleset.Hook{Type: "filter", Point: "ingress", Device: device, Priority: -500, Drop: true}, Rules: guarded},
		}},
	}
}

// plan returns the tables of a network with guests as netplan makes them.
func plan(tb testing.TB) *netplan.Plan {
	tb.Helper()
	c := netconfig.Config{Egress: &netconfig.Policy{Default: netconfig.Deny, Rules: []netconfig.Rule{
		{Action: netconfig.Deny, To: netconfig.Destination{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, Log: true},
		{Action: netconfig.Allow, Protocol: netconfig.TCP, Ports: []netconfig.PortRange{{First: 80, Last: 80}, {First: 8000, Last: 8100}}},
	}}}
	p, err := netplan.Make(*c.WithDefaults(), netplan.Facts{}, netplan.Owner{ID: "0123456789ab", Dir: "/run/user dir"})
	must(tb, err)
	return p.With([]netplan.Guest{guest("tap0", 2), guest("tap1", 3)})
}

func guest(tap string, n byte) netplan.Guest {
	return netplan.Guest{
		TAP: tap, MAC: netplan.HardwareAddr{2, 0, 0, 0, 0, n}, Addr: netip.AddrFrom4([4]byte{172, 30, 0, n}), VM: "vm-" + tap, Iface: "eth0",
		Egress:   &netconfig.Policy{Default: netconfig.Deny, LogDefault: true, Rules: []netconfig.Rule{{Action: netconfig.Allow, To: netconfig.Destination{Prefix: netip.MustParsePrefix("198.51.100.0/24")}}}},
		Forwards: []netconfig.Forward{{HostPort: 8000 + uint16(n), GuestPort: 80}, {HostIP: netip.IPv4Unspecified(), HostPort: 9000 + uint16(n), GuestPort: 443}},
	}
}

// nft runs nft in a namespace and returns what it writes.
func nft(tb testing.TB, n *nettest.Namespace, input string, args ...string) string {
	tb.Helper()
	return command(tb, n, input, hosttest.Path(tb, "nft"), args...)
}

func command(tb testing.TB, n *nettest.Namespace, input, path string, args ...string) string {
	tb.Helper()
	var out []byte
	err := n.Do(func() (err error) {
		cmd := exec.Command(path, args...)
		cmd.Stdin = strings.NewReader(input)
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		tb.Fatalf("%s %q: %v\n%s\n%s", path, args, err, out, input)
	}
	return string(out)
}

// texts returns tables as nft reads them.
func texts(tables []ruleset.Table) string {
	var b strings.Builder
	for _, t := range tables {
		b.WriteString(t.String())
	}
	return b.String()
}
