package netlinux

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// isXtables reports whether a chain is one of those that iptables makes in nftables.
// There, rules must be of those that iptables makes: it gives up on a table that
// has others.
func isXtables(b netplan.Barrier) bool {
	switch b.Table {
	case "filter", "mangle", "security":
		return b.Family == ruleset.IP && b.Chain == "FORWARD"
	}
	return false
}

// compileXtables is [compileRule] for iptables. It knows interfaces, the state of
// connections and those whose destination was translated, and verdicts.
func compileXtables(r ruleset.Rule) compiledRule {
	c := compiler{family: ruleset.IP}
	for _, m := range r.Match {
		c.xtMatch(m)
	}
	c.emit(&expr.Counter{})
	for _, s := range r.Do {
		c.statement(s)
	}
	return compiledRule{expressions: c.out, comment: r.Comment, err: c.err}
}

// stateDNAT is XT_CONNTRACK_STATE_DNAT; the other states are those of nftables.
const stateDNAT = 1 << 7

func (c *compiler) xtMatch(m ruleset.Match) {
	if len(m.Fields) != 1 || m.Not || m.Set != "" || m.Range.Max != nil || m.PrefixLen != 0 {
		c.fail("%v is not for iptables", m)
		return
	}
	switch f, value := m.Fields[0], m.Range.Min; {
	case f == ruleset.InIface, f == ruleset.OutIface:
		name := append(append([]byte(nil), value...), 0) // to its end: without it, it is the begin of a name
		c.emit(fieldsOf[f].load(first), &expr.Cmp{Op: expr.CmpOpEq, Register: first, Data: name})
	case f == ruleset.CTState && len(value) == 4:
		c.emit(xtState(uint16(binary.BigEndian.Uint32(value))))
	case f == ruleset.CTStatus && len(value) == 4 && binary.BigEndian.Uint32(value) == ruleset.StatusDNAT:
		c.emit(xtState(stateDNAT))
	default:
		c.fail("%v is not for iptables", m)
	}
}

// xtState is "-m conntrack --ctstate" as iptables writes it.
func xtState(mask uint16) expr.Any {
	var info xt.ConntrackMtinfo3
	info.MatchFlags = uint16(xt.ConntrackState)
	info.StateMask = mask
	return &expr.Match{Name: "conntrack", Rev: 3, Info: &info}
}

// xtComment returns the comment of a rule that iptables-restore has made of what
// iptables-save wrote: it is no longer where comments are.
func (r ruleState) xtComment() string {
	for _, e := range r.expressions {
		if e.name == "match" && textOf(attribute(e.data, unix.NFTA_MATCH_NAME)) == "comment" {
			return textOf(attribute(e.data, unix.NFTA_MATCH_INFO))
		}
	}
	return ""
}
