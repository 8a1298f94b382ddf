package netconfig

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Limits of a [Policy]. They keep its compilation and its one transaction in the
// kernel short.
const (
	MaxRules = 4096
	// MaxPorts is how many ports and ranges one rule can have.
	MaxPorts = 64
	// MaxTests is how many pairs of a rule and one of its ports there can be in all.
	MaxTests = 16384
	// MaxComment is in bytes.
	MaxComment = 100
)

// Policy is an ordered list of rules for the connections that guests open. The
// first rule that matches decides; without one it is the default action. Replies
// always pass. A policy that is replaced decides about open connections too.
type Policy struct {
	// Default is what happens to what no rule matches. Empty is Allow.
	Default Action `json:"default,omitempty"`
	Rules   []Rule `json:"rules,omitempty"`
	// LogDefault logs what the default action drops, see [Rule.Log].
	LogDefault bool `json:"log_default,omitempty"`
}

// Rule is one line of a [Policy].
type Rule struct {
	Action Action `json:"action"`
	// To is the destination: an IPv4 address or a prefix. The zero value is any.
	To Destination `json:"to,omitzero"`
	// Protocol is all, tcp, udp or icmp. Empty is all.
	Protocol Protocol `json:"protocol,omitempty"`
	// Ports are destination ports, only with tcp or udp. Nil is every port, and an
	// empty list is a mistake.
	Ports []PortRange `json:"ports,omitempty"`
	// Comment is for people: one line, at most 100 bytes.
	Comment string `json:"comment,omitempty"`
	// Log makes the kernel log what this rule drops, at most 10 packets a second:
	// see [LogPrefix]. Only with deny.
	Log bool `json:"log,omitempty"`
}

// Action is what happens to a packet.
type Action string

// The actions of a rule.
const (
	Allow Action = "allow"
	Deny  Action = "deny"
)

// Protocol is which connections a rule or a port is about.
type Protocol string

// The protocols of a rule. All is every one, those that have no name here included.
const (
	All  Protocol = "all"
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	ICMP Protocol = "icmp"
)

// Destination is an IPv4 prefix, written as an address when it is a single one.
// The zero value is everything, written as "".
type Destination struct{ netip.Prefix }

// PortRange is a port, written as 443, or several, written as 8000-8100. As JSON
// a single port may also be a number.
type PortRange struct{ First, Last uint16 }

// Decision is what a policy says about one connection.
type Decision struct {
	Action Action `json:"action"`
	// Rule is the index of the rule that decides, -1 for the default action.
	Rule int `json:"rule"`
}

// Clone returns a deep copy; nil of nil.
func (p *Policy) Clone() *Policy {
	if p == nil {
		return nil
	}
	out := *p
	out.Rules = slices.Clone(p.Rules)
	for i := range out.Rules {
		out.Rules[i].Ports = slices.Clone(out.Rules[i].Ports)
	}
	return &out
}

// WithDefaults returns the normal form of a valid policy, which decides the same:
// defaults are written out, destinations are network addresses, with the zero value
// for everything, and the ports of a rule are in order and do not overlap. Nil stays nil.
func (p *Policy) WithDefaults() *Policy {
	out := p.Clone()
	if out == nil {
		return nil
	}
	if out.Default == "" {
		out.Default = Allow
	}
	for i := range out.Rules {
		r := &out.Rules[i]
		if r.Protocol == "" {
			r.Protocol = All
		}
		r.To.Prefix = r.To.Masked()
		if r.To.IsValid() && r.To.Bits() == 0 {
			r.To = Destination{}
		}
		r.Ports = merged(r.Ports)
	}
	return out
}

// merged sorts ranges, and joins those that overlap or follow each other.
func merged(ranges []PortRange) []PortRange {
	slices.SortFunc(ranges, func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Decide returns what a valid policy says about a connection to an address: which
// action, by which rule. The protocol is tcp, udp or icmp; anything else, all included,
// is a protocol that only rules for all protocols match. The port counts with tcp and
// udp only. A nil policy allows all.
//
// What the network itself forbids, such as other guests, is not the policy's; but IPv6
// is, and always denied.
func (p *Policy) Decide(to netip.Addr, proto Protocol, port uint16) Decision {
	to = to.Unmap()
	if !to.Is4() {
		return Decision{Action: Deny, Rule: -1}
	}
	if p == nil {
		return Decision{Action: Allow, Rule: -1}
	}
	for i := range p.Rules {
		if p.Rules[i].matches(to, proto, port) {
			return Decision{Action: p.Rules[i].Action, Rule: i}
		}
	}
	return Decision{Action: cmp.Or(p.Default, Allow), Rule: -1}
}

func (r Rule) matches(to netip.Addr, proto Protocol, port uint16) bool {
	if r.To != (Destination{}) && !r.To.Contains(to) {
		return false
	}
	if r.Protocol != "" && r.Protocol != All && r.Protocol != proto {
		return false
	}
	in := func(ports PortRange) bool { return ports.First <= port && port <= ports.Last }
	return len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, in)
}

// LogPrefix is what the kernel writes in front of a packet that a network drops and
// logs. The rule is its index, or -1 for the default action, as in a [Decision].
func LogPrefix(bridge string, rule int) string {
	if rule < 0 {
		return fmt.Sprintf("smartvm %s default: ", bridge)
	}
	return fmt.Sprintf("smartvm %s rule %d: ", bridge, rule)
}
