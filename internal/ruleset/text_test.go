package ruleset_test

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/ruleset"
)

func addr(text string) ruleset.Value { return ruleset.Addr(netip.MustParseAddr(text)) }

func match(field ruleset.Field, v ruleset.Value) ruleset.Match {
	return ruleset.Match{Fields: []ruleset.Field{field}, Range: ruleset.Range{Min: v}}
}

func not(m ruleset.Match) ruleset.Match {
	m.Not = true
	return m
}

func between(field ruleset.Field, low, high ruleset.Value) ruleset.Match {
	m := match(field, low)
	m.Range.Max = high
	return m
}

func prefix(field ruleset.Field, v ruleset.Value, length int) ruleset.Match {
	m := match(field, v)
	m.PrefixLen = length
	return m
}

// rules of chains that are called from an inet table, and what nft calls them.
var rules = []struct {
	rule ruleset.Rule
	want string
}{
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.InIface, ruleset.Name("svbr0"))}}, `iifname "svbr0"`},
	{ruleset.Rule{Match: []ruleset.Match{not(match(ruleset.OutIface, ruleset.Name("lo")))}}, `oifname != "lo"`},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.Source, addr("10.0.0.1"))}}, "ip saddr 10.0.0.1"},
	{ruleset.Rule{Match: []ruleset.Match{prefix(ruleset.Destination, addr("10.0.0.0"), 8)}}, "ip daddr 10.0.0.0/8"},
	{ruleset.Rule{Match: []ruleset.Match{not(prefix(ruleset.Source, addr("10.0.0.0"), 8))}}, "ip saddr != 10.0.0.0/8"},
	{ruleset.Rule{Match: []ruleset.Match{between(ruleset.Source, addr("10.0.0.0"), addr("10.0.0.4"))}}, "ip saddr 10.0.0.0-10.0.0.4"},
	{ruleset.Rule{Match: []ruleset.Match{between(ruleset.Source, addr("10.0.0.0"), addr("10.0.0.255"))}}, "ip saddr 10.0.0.0/24"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.L4Proto, ruleset.Number8(6)), match(ruleset.Port, ruleset.Number16(443))}}, "meta l4proto tcp th dport 443"},
	{ruleset.Rule{Match: []ruleset.Match{between(ruleset.L4Proto, ruleset.Number8(6), ruleset.Number8(17))}}, "meta l4proto 6-17"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.L4Proto, ruleset.Number8(132))}}, "meta l4proto 132"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.L4Proto, ruleset.Number8(17)), not(between(ruleset.Port, ruleset.Number16(1), ruleset.Number16(1023)))}}, "meta l4proto udp th dport != 1-1023"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.ICMPType, ruleset.Number8(8))}}, "icmp type echo-request"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.ICMPType, ruleset.Number8(3))}}, "icmp type 3"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.NFProto, ruleset.Number8(10))}}, "meta nfproto ipv6"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.Mark, ruleset.Number32(0x1e000000))}}, "meta mark 0x1e000000"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.TCPFlags, ruleset.Number8(2))}, Do: []ruleset.Statement{ruleset.ClampMSS{}}}, "tcp flags syn tcp option maxseg size set rt mtu"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.CTState, ruleset.Number32(ruleset.StateInvalid|ruleset.StateUntracked))}}, "ct state invalid,untracked"},
	{ruleset.Rule{Match: []ruleset.Match{not(match(ruleset.CTState, ruleset.Number32(ruleset.StateEstablished|ruleset.StateRelated)))}}, "ct state & (established|related) == 0"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.CTStatus, ruleset.Number32(ruleset.StatusDNAT))}}, "ct status dnat"},
	{ruleset.Rule{Match: []ruleset.Match{not(match(ruleset.CTStatus, ruleset.Number32(ruleset.StatusDNAT)))}}, "ct status & (dnat) == 0"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.CTDirection, ruleset.Number8(ruleset.DirectionReply))}}, "ct direction reply"},
	{ruleset.Rule{Match: []ruleset.Match{match(ruleset.DestinationKind, ruleset.Number32(ruleset.KindLocal))}}, "fib daddr type local"},
	{ruleset.Rule{Match: []ruleset.Match{{Fields: []ruleset.Field{ruleset.L4Proto, ruleset.Port}, Set: "ports"}}}, "meta l4proto . th dport @ports"},
	{ruleset.Rule{Match: []ruleset.Match{{Fields: []ruleset.Field{ruleset.L4Proto, ruleset.Port}, Set: "ports", Not: true}}}, "meta l4proto . th dport != @ports"},
	{ruleset.Rule{Do: []ruleset.Statement{ruleset.Counter{}, ruleset.Verdict{Kind: ruleset.Drop}}, Comment: `a "quote"`}, `counter drop comment "a 'quote'"`},
	{ruleset.Rule{Do: []ruleset.Statement{ruleset.SetMark{Mark: 7}, ruleset.Verdict{Kind: ruleset.Accept}}}, "meta mark set 0x00000007 accept"},
	{ruleset.Rule{Do: []ruleset.Statement{ruleset.Verdict{Kind: ruleset.Jump, Chain: "called"}}}, "jump called"},
	{ruleset.Rule{Do: []ruleset.Statement{ruleset.Verdict{Kind: ruleset.Goto, Chain: "called"}}}, "goto called"},
	{ruleset.Rule{Do: []ruleset.Statement{ruleset.Verdict{Kind: ruleset.Return}}}, "return"},
	{ruleset.Rule{Do: []ruleset.Statement{ruleset.VerdictMap{Key: []ruleset.Field{ruleset.Destination, ruleset.L4Proto}, Map: "verdicts"}}}, "ip daddr . meta l4proto vmap @verdicts"},
	{ruleset.Rule{Do: []ruleset.Statement{ruleset.Log{Prefix: "no: "}}}, `log prefix "no: "`},
	{
		ruleset.Rule{
			Match:   []ruleset.Match{match(ruleset.Source, addr("10.0.0.1"))},
			Do:      []ruleset.Statement{ruleset.Counter{}, ruleset.Log{Prefix: "no: ", PerSecond: 10}, ruleset.Verdict{Kind: ruleset.Drop}},
			Comment: "logged",
		},
		"ip saddr 10.0.0.1 limit rate 10/second log prefix \"no: \"\nip saddr 10.0.0.1 counter drop comment \"logged\"",
	},
}

func TestRuleIsWrittenAsNftReadsIt(t *testing.T) {
	t.Parallel()
	for _, tt := range rules {
		if got := tt.rule.String(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// inet has one of each thing that there is in such tables.
func inet() ruleset.Table {
	dnat := ruleset.DNAT{Key: []ruleset.Field{ruleset.Destination, ruleset.L4Proto, ruleset.Port}, Map: "forwards"}
	drop := &ruleset.Verdict{Kind: ruleset.Drop}
	table := ruleset.Table{
		Family: ruleset.Inet, Name: "smartvm-svbr0", Comment: "smartvm 0123456789ab svbr0 /run/smartvm",
		Sets: []ruleset.Set{
			{
				Name: "ports", Key: []ruleset.Field{ruleset.L4Proto, ruleset.Port}, Comment: "a set",
				Elements: []ruleset.Element{{Key: []ruleset.Range{{Min: ruleset.Number8(6)}, {Min: ruleset.Number16(443)}}, Comment: "web"}},
			},
			{
				Name: "verdicts", Key: []ruleset.Field{ruleset.Destination, ruleset.L4Proto}, Verdicts: true, Interval: true, Counter: true,
				Elements: []ruleset.Element{
					{Key: []ruleset.Range{{Min: addr("0.0.0.0"), Max: addr("9.255.255.255")}, {Min: ruleset.Number8(0), Max: ruleset.Number8(255)}}, Verdict: drop, Comment: "rule 0"},
					{Key: []ruleset.Range{{Min: addr("10.0.0.0"), Max: addr("10.0.0.255")}, {Min: ruleset.Number8(17), Max: ruleset.Number8(17)}}, Verdict: &ruleset.Verdict{Kind: ruleset.Goto, Chain: "called"}},
				},
			},
			{
				Name: "everything", Key: []ruleset.Field{ruleset.Destination, ruleset.L4Proto}, Verdicts: true, Interval: true,
				Elements: []ruleset.Element{{Key: []ruleset.Range{{Min: addr("0.0.0.0"), Max: addr("255.255.255.255")}, {Min: ruleset.Number8(1)}}, Verdict: drop}},
			},
			{
				Name: "forwards", Key: []ruleset.Field{ruleset.Destination, ruleset.L4Proto, ruleset.Port}, Data: []ruleset.Field{ruleset.Destination, ruleset.Port},
				Elements: []ruleset.Element{{
					Key:  []ruleset.Range{{Min: addr("192.0.2.7")}, {Min: ruleset.Number8(6)}, {Min: ruleset.Number16(8080)}},
					Data: []ruleset.Value{addr("172.30.0.2"), ruleset.Number16(80)}, Comment: "vm",
				}},
			},
			{Name: "bridges", Key: []ruleset.Field{ruleset.InIface}, Elements: []ruleset.Element{{Key: []ruleset.Range{{Min: ruleset.Name("svbr0")}}}}},
		},
		Chains: []ruleset.Chain{
			{Name: "called", Rules: []ruleset.Rule{{Do: []ruleset.Statement{*drop}}}},
			{Name: "every", Comment: "every rule"},
			{
				Name: "dstnat", Hook: &ruleset.Hook{Type: "nat", Point: "prerouting", Priority: -100},
				Rules: []ruleset.Rule{{Do: []ruleset.Statement{dnat}}},
			},
			{
				Name: "srcnat", Hook: &ruleset.Hook{Type: "nat", Point: "postrouting", Priority: 100},
				Rules: []ruleset.Rule{{Do: []ruleset.Statement{ruleset.Masquerade{}}}},
			},
		},
	}
	for _, tt := range rules {
		table.Chains[1].Rules = append(table.Chains[1].Rules, tt.rule)
	}
	return table
}

func netdev() ruleset.Table {
	mac := ruleset.Value{2, 0, 0, 0, 0, 1}
	return ruleset.Table{Family: ruleset.Netdev, Name: "smartvm-svbr0", Chains: []ruleset.Chain{{
		Name: "guard", Hook: &ruleset.Hook{Type: "filter", Point: "ingress", Device: "lo", Priority: -500, Drop: true},
		Rules: []ruleset.Rule{
			{Match: []ruleset.Match{match(ruleset.EtherSource, mac), match(ruleset.EtherType, ruleset.Number16(0x0800))}, Do: []ruleset.Statement{ruleset.Verdict{Kind: ruleset.Accept}}},
			{Match: []ruleset.Match{match(ruleset.EtherType, ruleset.Number16(0x0806)), match(ruleset.ARPSourceHW, mac), match(ruleset.ARPSourceIP, addr("0.0.0.0"))}},
			{
				Match: []ruleset.Match{match(ruleset.ARPTargetHW, mac), match(ruleset.ARPTargetIP, addr("192.0.2.1"))},
				Do: []ruleset.Statement{
					ruleset.Write{Field: ruleset.ARPTargetHW, Value: mac},
					ruleset.Write{Field: ruleset.ARPTargetIP, Value: addr("192.0.2.2")},
					ruleset.Write{Field: ruleset.ARPSourceHW, Value: mac},
					ruleset.Write{Field: ruleset.ARPSourceIP, Value: addr("192.0.2.3")},
				},
			},
			{
				Match: []ruleset.Match{match(ruleset.ICMPType, ruleset.Number8(3)), match(ruleset.QuotedSource, addr("192.0.2.1"))},
				Do:    []ruleset.Statement{ruleset.Write{Field: ruleset.QuotedSource, Value: addr("192.0.2.2")}, ruleset.Write{Field: ruleset.QuotedDestination, Value: addr("192.0.2.3")}},
			},
			{
				Match: []ruleset.Match{match(ruleset.EtherDestination, mac)},
				Do: []ruleset.Statement{
					ruleset.Write{Field: ruleset.Source, Value: addr("192.0.2.1")},
					ruleset.Write{Field: ruleset.Destination, Value: addr("192.0.2.2")},
					ruleset.Write{Field: ruleset.EtherSource, Value: mac},
					ruleset.Write{Field: ruleset.EtherDestination, Value: mac},
					ruleset.Forward{Iface: "lo"},
				},
			},
		},
	}}}
}

func TestTableIsWrittenAsNftReadsIt(t *testing.T) {
	t.Parallel()
	got := inet().String() + netdev().String()
	const path = "testdata/tables.nft"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestNftReadsTheText(t *testing.T) {
	hosttest.Need(t, hosttest.Tool("nft"))
	hosttest.Isolate(t)
	cmd := exec.CommandContext(t.Context(), "nft", "-c", "-f", "-")
	cmd.Stdin = strings.NewReader(inet().String() + netdev().String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What is not a table that netlinux makes is still written, for an error.
func TestTextOfNonsenseDoesNotPanic(t *testing.T) {
	t.Parallel()
	fields := []ruleset.Field{ruleset.Source, ruleset.EtherSource, ruleset.CTState, ruleset.Port, ruleset.Mark, "no field"}
	for _, f := range fields {
		for _, v := range []ruleset.Value{nil, {}, {1}, {1, 2, 3, 4, 5}, {0xff, 0xff, 0xff, 0xff}} {
			rule := ruleset.Rule{Match: []ruleset.Match{match(f, v), not(match(f, v)), between(f, v, v), {}}}
			if rule.String() == "" {
				t.Errorf("%s %v: no text", f, v)
			}
		}
	}
}
