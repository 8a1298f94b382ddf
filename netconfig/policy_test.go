package netconfig_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

func policy(tb testing.TB, text string) *netconfig.Policy {
	tb.Helper()
	p, err := netconfig.ParsePolicy([]byte(text))
	if err != nil {
		tb.Fatalf("%v\nin\n%s", err, text)
	}
	return p
}

const office = `
default: deny
rules:
  - {action: allow, to: 1.1.1.1, protocol: udp, ports: [53]}
  - {action: deny, to: 10.0.0.0/8, log: true}
  - {action: allow, protocol: tcp, ports: [80, 443, 8000-8100]}
  - {action: allow, to: 192.0.2.0/24, protocol: icmp}
  - {action: allow, to: 198.51.100.7}
  - {action: deny, to: 198.51.100.0/24}
`

func TestTheFirstRuleThatMatchesDecides(t *testing.T) {
	t.Parallel()
	p := policy(t, office)
	tests := []struct {
		to     string
		proto  netconfig.Protocol
		port   uint16
		action netconfig.Action
		rule   int
	}{
		{"1.1.1.1", netconfig.UDP, 53, netconfig.Allow, 0},
		{"1.1.1.1", netconfig.UDP, 54, netconfig.Deny, -1},
		{"1.1.1.1", netconfig.TCP, 53, netconfig.Deny, -1},
		{"1.1.1.2", netconfig.UDP, 53, netconfig.Deny, -1},
		{"10.255.255.255", netconfig.TCP, 443, netconfig.Deny, 1}, // before the rule that allows the port
		{"11.0.0.0", netconfig.TCP, 443, netconfig.Allow, 2},
		{"9.9.9.9", netconfig.TCP, 8000, netconfig.Allow, 2},
		{"9.9.9.9", netconfig.TCP, 8100, netconfig.Allow, 2},
		{"9.9.9.9", netconfig.TCP, 7999, netconfig.Deny, -1},
		{"9.9.9.9", netconfig.TCP, 8101, netconfig.Deny, -1},
		{"9.9.9.9", netconfig.UDP, 443, netconfig.Deny, -1},
		{"192.0.2.1", netconfig.ICMP, 0, netconfig.Allow, 3},
		{"192.0.2.1", netconfig.UDP, 0, netconfig.Deny, -1},
		{"198.51.100.7", netconfig.UDP, 1, netconfig.Allow, 4},
		{"198.51.100.7", netconfig.All, 0, netconfig.Allow, 4}, // a protocol that has no name here
		{"198.51.100.8", "gre", 0, netconfig.Deny, 5},
		{"192.0.2.1", netconfig.All, 0, netconfig.Deny, -1}, // icmp is not all
		{"::ffff:1.1.1.1", netconfig.UDP, 53, netconfig.Allow, 0},
		{"2001:db8::1", netconfig.TCP, 443, netconfig.Deny, -1},
	}
	for _, tt := range tests {
		want := netconfig.Decision{Action: tt.action, Rule: tt.rule}
		if got := p.Decide(addr(tt.to), tt.proto, tt.port); got != want {
			t.Errorf("%s %s %d: got %+v, want %+v", tt.to, tt.proto, tt.port, got, want)
		}
	}
}

func TestWithoutARuleTheDefaultDecides(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		policy *netconfig.Policy
		want   netconfig.Action
	}{
		{nil, netconfig.Allow},
		{&netconfig.Policy{}, netconfig.Allow},
		{&netconfig.Policy{Default: netconfig.Allow}, netconfig.Allow},
		{&netconfig.Policy{Default: netconfig.Deny}, netconfig.Deny},
	} {
		want := netconfig.Decision{Action: tt.want, Rule: -1}
		if got := tt.policy.Decide(addr("9.9.9.9"), netconfig.TCP, 443); got != want {
			t.Errorf("%+v: got %+v, want %+v", tt.policy, got, want)
		}
		for _, a := range []netip.Addr{{}, addr("::1")} { // IPv6 is never forwarded
			if got := tt.policy.Decide(a, netconfig.TCP, 443); got.Action != netconfig.Deny {
				t.Errorf("%+v allows %v", tt.policy, a)
			}
		}
	}
}

// randomPolicy has few addresses and ports, so that its rules overlap.
func randomPolicy(r *rand.Rand) *netconfig.Policy {
	p := &netconfig.Policy{Default: []netconfig.Action{"", netconfig.Allow, netconfig.Deny}[r.IntN(3)]}
	for range r.IntN(8) {
		rule := netconfig.Rule{
			Action:   []netconfig.Action{netconfig.Allow, netconfig.Deny}[r.IntN(2)],
			Protocol: []netconfig.Protocol{"", netconfig.All, netconfig.TCP, netconfig.UDP, netconfig.ICMP}[r.IntN(5)],
		}
		if r.IntN(4) > 0 {
			rule.To = netconfig.Destination{Prefix: netip.PrefixFrom(randomAddr(r), r.IntN(33))}
		}
		if rule.Protocol == netconfig.TCP || rule.Protocol == netconfig.UDP {
			for range r.IntN(4) {
				first := 1 + r.Uint32N(8)
				rule.Ports = append(rule.Ports, netconfig.PortRange{First: uint16(first), Last: uint16(first + r.Uint32N(3))})
			}
		}
		p.Rules = append(p.Rules, rule)
	}
	return p
}

func randomAddr(r *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(8))})
}

func TestNormalFormOfAPolicyDecidesTheSame(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		p := randomPolicy(r)
		normal := p.WithDefaults()
		if err := normal.Validate(); err != nil {
			t.Fatalf("%v\n%+v", err, normal)
		}
		for range 200 {
			to, port := randomAddr(r), uint16(r.IntN(12))
			proto := []netconfig.Protocol{netconfig.All, netconfig.TCP, netconfig.UDP, netconfig.ICMP}[r.IntN(4)]
			if got, want := normal.Decide(to, proto, port), p.Decide(to, proto, port); got != want {
				t.Fatalf("%v %s %d: got %+v, want %+v\n%+v\n%+v", to, proto, port, got, want, p, normal)
			}
		}
	}
}

func TestBadPoliciesAreRefusedWithTheirFields(t *testing.T) {
	t.Parallel()
	p := &netconfig.Policy{
		Default: "drop", LogDefault: true,
		Rules: []netconfig.Rule{
			{Action: "permit", Protocol: "TCP", To: to("fd00::/8")},
			{Action: netconfig.Allow, Ports: []netconfig.PortRange{{First: 80, Last: 80}}, Log: true},
			{Action: netconfig.Allow, Protocol: netconfig.ICMP, Ports: []netconfig.PortRange{{First: 0, Last: 80}, {First: 2, Last: 1}}},
			{Action: netconfig.Allow, Protocol: netconfig.TCP, Ports: []netconfig.PortRange{}, Comment: "two\nlines"},
			{Action: netconfig.Deny, Protocol: netconfig.TCP, Ports: make([]netconfig.PortRange, 65), Comment: strings.Repeat("x", 101), Log: true},
			{Action: netconfig.Deny, Comment: "\xff", To: netconfig.Destination{Prefix: netip.PrefixFrom(addr("10.0.0.0"), 33)}},
			{Action: netconfig.Deny, Comment: "\u202e" + strings.Repeat("é", 48), To: to("10.0.0.1/8"), Log: true},
		},
	}
	want := `default: "drop" is not one of allow, deny
log_default: has no effect: nothing is dropped by default
rules[0].action: "permit" is not one of allow, deny
rules[0].to: fd00::/8 is IPv6, which guests can't reach at all
rules[0].protocol: "TCP" is not one of all, tcp, udp, icmp, did you mean "tcp"?
rules[1].ports: need the protocol tcp or udp
rules[1].log: has no effect: only what is denied is logged
rules[2].ports: need the protocol tcp or udp
rules[2].ports[0]: 0 is not a port
rules[2].ports[1]: 2-1 is empty: its first port is higher than its last
rules[3].ports: are empty: leave them out for every port
rules[3].comment: "two\nlines" has a character that can't be printed
rules[4].ports: has 65 ports and ranges, at most 64 are allowed
rules[4].comment: has 101 bytes, at most 100 are allowed
rules[5].to: is not a prefix
rules[5].comment: is not valid UTF-8
rules[6].comment: "\u202e` + strings.Repeat("é", 30) + `"... has a character that can't be printed
`
	if diff := cmp.Diff(want, mistakes(t, p.Validate(), errcode.InvalidFirewallConfig)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := (*netconfig.Policy)(nil).Validate(); err != nil {
		t.Errorf("nil: %v", err)
	}
}

func TestPoliciesAreBounded(t *testing.T) {
	t.Parallel()
	rule := netconfig.Rule{Action: netconfig.Deny, Protocol: netconfig.TCP}
	for i := range uint16(netconfig.MaxPorts) {
		rule.Ports = append(rule.Ports, netconfig.PortRange{First: 2*i + 1, Last: 2*i + 1})
	}
	full := netconfig.MaxTests / netconfig.MaxPorts
	tests := []struct {
		rules []netconfig.Rule
		want  string
	}{
		{slices.Repeat([]netconfig.Rule{{Action: netconfig.Deny}}, netconfig.MaxRules), ""},
		{slices.Repeat([]netconfig.Rule{{Action: netconfig.Deny}}, netconfig.MaxRules+1), "rules: has 4097 rules, at most 4096 are allowed\n"},
		{slices.Repeat([]netconfig.Rule{rule}, full), ""},
		{slices.Repeat([]netconfig.Rule{rule}, full+1), "rules: have 16448 ports and ranges in all, at most 16384 are allowed\n"},
	}
	for _, tt := range tests {
		err := (&netconfig.Policy{Rules: tt.rules}).Validate()
		if tt.want == "" && err != nil || tt.want != "" && mistakes(t, err, errcode.InvalidFirewallConfig) != tt.want {
			t.Errorf("%d rules: got %v, want %q", len(tt.rules), err, tt.want)
		}
	}
}

func TestLogPrefixFitsTheKernel(t *testing.T) {
	t.Parallel()
	const room = 127 // NF_LOG_PREFIXLEN without the closing zero byte
	for rule, want := range map[int]string{-1: "smartvm svbr0 default: ", 0: "smartvm svbr0 rule 0: ", 4095: "smartvm svbr0 rule 4095: "} {
		if got := netconfig.LogPrefix("svbr0", rule); got != want || len(got) > room {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
