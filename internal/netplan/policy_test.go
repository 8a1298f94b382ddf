package netplan_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// randomPolicy has up to n rules that overlap each other in every way.
func randomPolicy(r *rand.Rand, n int) *netconfig.Policy {
	p := &netconfig.Policy{LogDefault: r.IntN(4) == 0, Default: pick(r, netconfig.Allow, netconfig.Deny)}
	for range r.IntN(n + 1) {
		rule := netconfig.Rule{
			Action:   pick(r, netconfig.Allow, netconfig.Deny),
			Protocol: pick(r, "", netconfig.All, netconfig.TCP, netconfig.UDP, netconfig.ICMP),
		}
		if r.IntN(4) > 0 {
			rule.To = netconfig.Destination{Prefix: netip.PrefixFrom(randomAddr(r), pick(r, 0, 1, 8, 24, 30, 31, 32))}
		}
		rule.Log = rule.Action == netconfig.Deny && r.IntN(4) == 0
		if rule.Protocol == netconfig.TCP || rule.Protocol == netconfig.UDP {
			for range r.IntN(4) {
				first := 1 + r.IntN(8)
				rule.Ports = append(rule.Ports, netconfig.PortRange{First: uint16(first), Last: uint16(first + r.IntN(3))})
			}
		}
		p.Rules = append(p.Rules, rule)
	}
	return p
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// randomAddr is mostly one of a few neighbours, at both ends of what there is.
func randomAddr(r *rand.Rand) netip.Addr {
	return pick(r,
		netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(8))}), netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), 0, 1}),
		netip.AddrFrom4([4]byte{0, 0, 0, byte(r.IntN(2))}), netip.AddrFrom4([4]byte{255, 255, 255, byte(254 + r.IntN(2))}))
}

func TestCompiledPolicyDecidesAsThePolicyDoes(t *testing.T) {
	t.Parallel()
	protocols := map[uint8]netconfig.Protocol{tcp: netconfig.TCP, udp: netconfig.UDP, icmp: netconfig.ICMP, sctp: netconfig.All}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		policy := randomPolicy(r, 20)
		if err := policy.Validate(); err != nil {
			policy.LogDefault = false // which is what it can complain about
		}
		m := machine{tb: t}
		table, chain := egress(t, policy)
		for range 50 {
			p := packet{in: "svbr0", from: web, to: randomAddr(r), proto: pick[uint8](r, tcp, udp, icmp, sctp), port: uint16(r.IntN(12))}
			want := policy.Decide(p.to, protocols[p.proto], p.port)
			verdict, decider := m.run(table, chain, &p)
			if (verdict == ruleset.Drop) != (want.Action == netconfig.Deny) || decider != netplan.RuleComment(want.Rule) {
				t.Fatalf("%+v: %v by %q, want %+v, with the policy\n%+v\n%s", p, verdict, decider, want, policy, table)
			}
		}
	}
}

// egress returns the table with the network's policy, and its chain.
func egress(tb testing.TB, policy *netconfig.Policy) (ruleset.Table, ruleset.Chain) {
	tb.Helper()
	c := netconfig.Config{Egress: policy}
	plan, err := netplan.Make(*c.WithDefaults(), facts, owner)
	if err != nil {
		tb.Fatal(err)
	}
	table := plan.Tables[0]
	return table, machine{tb: tb}.chain(table, "egress")
}

// The kernel refuses sets with elements that overlap, or takes either.
func TestElementsOfALayerAreDisjoint(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		table, _ := egress(t, randomPolicy(r, 30))
		layers := map[string][]ruleset.Element{}
		for _, s := range table.Sets {
			if name, is := strings.CutPrefix(s.Name, "egress_"); is {
				_, name, _ = strings.Cut(name, "_") // what tells policies apart
				kind, n, _ := strings.Cut(name, "_")
				layers[n] = append(layers[n], withProtocol(kind, s.Elements)...)
			}
		}
		for n, elements := range layers {
			for i, a := range elements {
				for _, b := range elements[:i] {
					if overlap(a, b) {
						t.Fatalf("layer %s: %v and %v overlap", n, a, b)
					}
				}
			}
		}
	}
}

// withProtocol puts the protocol of a map that is for one into the keys of its elements.
func withProtocol(kind string, elements []ruleset.Element) []ruleset.Element {
	proto, is := map[string]uint8{"tcp": tcp, "udp": udp}[kind]
	if !is {
		return elements
	}
	out := slices.Clone(elements)
	for i := range out {
		out[i].Key = slices.Insert(slices.Clone(out[i].Key), 1, ruleset.Range{Min: ruleset.Number8(proto)})
	}
	return out
}

// overlap compares as many fields as both have.
func overlap(a, b ruleset.Element) bool {
	for i := range min(len(a.Key), len(b.Key)) {
		if !within(a.Key[i].Min, b.Key[i]) && !within(b.Key[i].Min, a.Key[i]) {
			return false
		}
	}
	return true
}

func TestDisjointRulesAreLookedUpAtOnce(t *testing.T) {
	t.Parallel()
	table, chain := egress(t, disjoint(500))
	if len(chain.Rules) != 3 { // the rules, the default action, and what is never met
		t.Errorf("%d rules, want 2 that look up, and one", len(chain.Rules))
	}
	elements := 0
	for _, name := range netplan.RuleCounters(disjoint(500)) {
		i := slices.IndexFunc(table.Sets, func(s ruleset.Set) bool { return s.Name == name })
		elements += len(table.Sets[i].Elements)
	}
	if elements != 501 {
		t.Errorf("%d elements, want 501", elements)
	}
}

func disjoint(n int) *netconfig.Policy {
	p := &netconfig.Policy{Default: netconfig.Deny}
	for i := range n {
		p.Rules = append(p.Rules, netconfig.Rule{
			Action: netconfig.Allow, To: destination(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)),
		})
	}
	return p
}

func TestLogLetsNothingThroughAboveItsLimit(t *testing.T) {
	t.Parallel()
	policy := &netconfig.Policy{Default: netconfig.Deny, LogDefault: true, Rules: []netconfig.Rule{
		{Action: netconfig.Deny, To: destination("10.0.0.0/8"), Log: true},
	}}
	table, _ := egress(t, policy)
	for name, prefix := range map[string]string{"_log_0": "smartvm svbr0 rule 0: ", "_log_default": "smartvm svbr0 default: "} {
		chain := machine{tb: t}.chain(table, name)
		want := fmt.Sprintf("limit rate 10/second log prefix %q", prefix)
		if len(chain.Rules) != 2 || chain.Rules[0].String() != want || chain.Rules[1].String() != "drop" {
			t.Errorf("%s: %v", name, chain)
		}
	}
}

func TestOwnPolicyOfAGuestOnlyNarrows(t *testing.T) {
	t.Parallel()
	s := samples()["policy"] // web may reach 198.51.100.0/24; all may use the web, and ping
	to := func(from netip.Addr, to string, port uint16) packet {
		return packet{in: "svbr0", from: from, to: ip(to), proto: tcp, port: port}
	}
	journeys{
		"allowed by both":               {to(web, "198.51.100.1", 443), "eth0 to 198.51.100.1:443, masqueraded"},
		"denied by its own":             {to(web, "203.0.113.1", 443), "drop: default"},
		"denied by the network's":       {to(web, "198.51.100.1", 25), "drop: default"},
		"without one":                   {to(job, "203.0.113.1", 443), "eth0 to 203.0.113.1:443, masqueraded"},
		"without one, denied":           {to(job, "10.1.2.3", 443), "drop: rule 0"},
		"a connection that is open":     {packet{in: "svbr0", from: web, to: ip("203.0.113.1"), proto: tcp, port: 443, state: ruleset.StateEstablished}, "drop: default"},
		"an ICMP error, to anybody":     {packet{in: "svbr0", from: web, to: ip("203.0.113.1"), proto: icmp, icmpType: 3, state: ruleset.StateRelated}, "drop: default"},
		"what a helper expects":         {packet{in: "svbr0", from: web, to: ip("203.0.113.1"), proto: tcp, port: 443, state: ruleset.StateRelated}, "drop: default"},
		"an answer, whatever it allows": {packet{in: "svbr0", from: web, to: ip("203.0.113.1"), proto: tcp, state: ruleset.StateEstablished, reply: true}, "eth0 to 203.0.113.1:0"},
	}.check(t, s.machine(t))
}

func BenchmarkCompilePolicy(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	overlapping := func(n int) *netconfig.Policy {
		p := &netconfig.Policy{}
		for len(p.Rules) < n {
			p.Rules = append(p.Rules, randomPolicy(r, 100).Rules...)
		}
		p.Rules = p.Rules[:n]
		return p
	}
	for name, policy := range map[string]*netconfig.Policy{
		"disjoint 500": disjoint(500), "disjoint 4096": disjoint(4096),
		"overlapping 500": overlapping(500), "overlapping 4096": overlapping(4096),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				netplan.RuleCounters(policy)
			}
		})
	}
}
