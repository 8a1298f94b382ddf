package netplan

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"

	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// logsPerSecond is how many packets each rule that logs may log in a second.
const logsPerSecond = 10

// compile returns the chain of a policy, and the sets and chains that it needs.
//
// Rules become elements of verdict maps, which the kernel looks up in one step
// however many there are. Elements of one map can't overlap, so rules that do stand in
// different layers, the earlier rule in the earlier layer; the layers are looked up
// one after the other, and the first element that is found decides. The default
// action is the last layer. Most policies have two layers in all.
//
// A layer has up to three maps, of which a packet meets two: rules for ports of tcp, and
// of udp, are looked up by address and port, the others by address and protocol. The
// kernel takes the longer for an element the more fields a key has.
//
// Allow returns to the chain that called, deny drops. What the chain needs has names
// that begin with prefix.
func compile(name, prefix, subject string, p *netconfig.Policy) ([]ruleset.Set, []ruleset.Chain) {
	c := compiler{
		name: name, prefix: prefix, subject: subject,
		allow: ruleset.Verdict{Kind: ruleset.Return}, deny: ruleset.Verdict{Kind: ruleset.Drop},
	}
	p = p.WithDefaults()
	spans := make([]span, 0, len(p.Rules)+1)
	for _, r := range p.Rules {
		spans = append(spans, spanOf(r))
	}
	spans = append(spans, spanOf(netconfig.Rule{})) // the default action
	layers := layersOf(spans)
	for i, r := range p.Rules {
		c.add(layers[i], spans[i], c.verdict(i, r.Action, r.Log), RuleComment(i))
	}
	last := len(p.Rules)
	c.add(layers[last], spans[last], c.verdict(-1, p.Default, p.LogDefault), RuleComment(-1))
	return c.result()
}

// egress returns the chain of the network's policy, which is there also when the network
// has none: so one can take its place.
func (r rules) egress() ([]ruleset.Set, []ruleset.Chain) {
	if r.Egress == nil {
		return nil, []ruleset.Chain{{Name: chainEgress, Comment: "no egress policy"}}
	}
	return compile(chainEgress, egressPrefix(r.Egress), r.Bridge, r.Egress)
}

// egressPrefix is another one for another policy, so that what two of them need can be
// in the kernel at the same time.
func egressPrefix(p *netconfig.Policy) string {
	text, err := json.Marshal(p.WithDefaults())
	if err != nil {
		return chainEgress // not reached: a policy is plain data
	}
	h := fnv.New64a()
	_, _ = h.Write(text) // it never fails
	return fmt.Sprintf("%s_%08x", chainEgress, uint32(h.Sum64()>>32)^uint32(h.Sum64()))
}

// Egress returns what the tables of a network have for its policy, and for nothing else.
// The config is valid and has its defaults, as in [Make].
func Egress(c netconfig.Config) Change {
	var change Change
	sets, chains := rulesOf(c).egress()
	for _, s := range sets {
		change.Sets = append(change.Sets, InTable[ruleset.Set]{ruleset.Inet, TableName(c.Bridge), s})
	}
	for _, chain := range chains {
		change.Chains = append(change.Chains, InTable[ruleset.Chain]{ruleset.Inet, TableName(c.Bridge), chain})
	}
	return change
}

// RuleComment is the comment of the elements that stand for a rule of a policy, by its
// index; -1 is the default action. It is the key under which their hits are counted.
func RuleComment(rule int) string {
	if rule < 0 {
		return "default"
	}
	return "rule " + strconv.Itoa(rule)
}

// RuleCounters returns the names of the sets that count the hits of the network's
// policy, in its inet table. The hits of one rule are those of all elements with its
// [RuleComment], in whichever sets.
func RuleCounters(p *netconfig.Policy) []string {
	if p == nil {
		return nil
	}
	return counters(egressPrefix(p), p)
}

// GuestRuleCounters is [RuleCounters] for the policy of a guest's own.
func GuestRuleCounters(g Guest) []string { return counters(g.TAP, g.Egress) }

func counters(prefix string, p *netconfig.Policy) []string {
	if p == nil {
		return nil
	}
	sets, _ := compile("", prefix, "", p)
	names := make([]string, len(sets))
	for i, s := range sets {
		names[i] = s.Name
	}
	return names
}

// compiler collects what a policy needs.
type compiler struct {
	name, prefix, subject string
	layers                []layer
	logs                  []ruleset.Chain
	allow, deny           ruleset.Verdict // shared by all elements that have them
}

type layer struct{ addr, tcp, udp []ruleset.Element }

func (c *compiler) verdict(rule int, action netconfig.Action, log bool) *ruleset.Verdict {
	switch {
	case action == netconfig.Allow:
		return &c.allow
	case !log:
		return &c.deny
	}
	chain := c.prefix + "_log_default"
	if rule >= 0 {
		chain = c.prefix + "_log_" + strconv.Itoa(rule)
	}
	// Two rules: above the limit the first one ends, and the second one still drops.
	c.logs = append(c.logs, ruleset.Chain{Name: chain, Rules: []ruleset.Rule{
		does(ruleset.Log{Prefix: netconfig.LogPrefix(c.subject, rule), PerSecond: logsPerSecond}),
		does(c.deny),
	}})
	return &ruleset.Verdict{Kind: ruleset.Goto, Chain: chain}
}

func (c *compiler) add(n int, s span, v *ruleset.Verdict, comment string) {
	for len(c.layers) < n {
		c.layers = append(c.layers, layer{})
	}
	l := &c.layers[n-1]
	key := s.key()
	if s.ports == nil {
		l.addr = append(l.addr, ruleset.Element{Key: key, Verdict: v, Comment: comment})
		return
	}
	to := &l.tcp
	if s.firstProto == protoUDP {
		to = &l.udp
	}
	for _, p := range s.ports {
		ports := ruleset.Range{Min: ruleset.Number16(p.First), Max: ruleset.Number16(p.Last)}
		*to = append(*to, ruleset.Element{Key: append(key[:1:1], ports), Verdict: v, Comment: comment})
	}
}

func (c *compiler) result() ([]ruleset.Set, []ruleset.Chain) {
	var sets []ruleset.Set
	chain := ruleset.Chain{Name: c.name, Comment: "egress policy"}
	use := func(kind string, n int, elements []ruleset.Element, second ruleset.Field, when ...ruleset.Match) {
		key := []ruleset.Field{ruleset.Destination, second}
		if len(elements) == 0 {
			return
		}
		s := ruleset.Set{
			Name: fmt.Sprintf("%s_%s_%d", c.prefix, kind, n+1), Key: key,
			Verdicts: true, Interval: true, Counter: true, Elements: elements,
		}
		sets = append(sets, s)
		chain.Rules = append(chain.Rules, does(ruleset.VerdictMap{Key: key, Map: s.Name}, when...))
	}
	for n, l := range c.layers {
		use("addr", n, l.addr, ruleset.L4Proto)
		use("tcp", n, l.tcp, ruleset.Port, protocol(protoTCP))
		use("udp", n, l.udp, ruleset.Port, protocol(protoUDP))
	}
	// The default action is about everything, but for an instant: when sets are taken away,
	// the kernel finds nothing in them any more for a packet that is on its way through the
	// rules that look into them.
	chain.Rules = append(chain.Rules, drop("policy in exchange"))
	return sets, append(c.logs, chain)
}
