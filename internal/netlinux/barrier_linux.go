package netlinux

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// Barriers returns the chains of others that would drop guests' traffic: base chains
// of the families ip and inet at the forward hook that drop what they do not know, by
// their policy or by a rule without a condition, perhaps in a chain that such a rule
// leads to. Chains of the iptables before nftables are not among them.
func (h *Host) Barriers(ctx context.Context) ([]netplan.Barrier, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	tables, err := h.allTables()
	if err != nil {
		return nil, h.nftFailed("list", "tables", err)
	}
	own := map[[2]string]bool{}
	for _, t := range tables {
		own[[2]string{string(t.Family), t.Name}] = strings.HasPrefix(t.Comment, ownMark)
	}
	var all []netplan.Barrier
	for _, family := range []ruleset.Family{ruleset.Inet, ruleset.IP} {
		chains, err := h.chains(family)
		if err != nil {
			return nil, h.nftFailed("list", "chains of the family "+string(family), err)
		}
		for _, c := range chains {
			if !c.base || c.hook != unix.NF_INET_FORWARD || c.kind != "filter" || own[[2]string{string(family), c.table}] {
				continue
			}
			why, err := h.drops(family, c)
			if err != nil {
				return nil, h.nftFailed("list", "rules of table "+string(family)+" "+c.table, err)
			}
			if why != "" {
				all = append(all, netplan.Barrier{Family: family, Table: c.table, Chain: c.name, Why: why})
			}
		}
	}
	slices.SortFunc(all, func(a, b netplan.Barrier) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Chain, b.Chain))
	})
	return all, nil
}

// drops says what in a base chain drops what it does not know, "" if nothing does.
func (h *Host) drops(family ruleset.Family, c chainState) (why string, err error) {
	rules, err := h.nftRules(family, c.table, "")
	if err != nil {
		return "", err
	}
	of := map[string][]ruleState{}
	for _, r := range rules {
		of[r.chain] = append(of[r.chain], r)
	}
	switch end := endOf(of, c.name, 0); {
	case end == rejects:
		return "reject at its end", nil
	case end == drops:
		return "drop at its end", nil
	case end == goesOn && c.policy == policyDrop:
		return "policy drop", nil
	}
	return "", nil
}

// outcome is what becomes of a packet that meets no condition.
type outcome int

const (
	goesOn outcome = iota
	accepts
	drops
	rejects
)

// deepest is how many chains are followed; the kernel allows 16 jumps.
const deepest = 16

// endOf returns what a chain does with a packet that no rule with a condition is for.
func endOf(of map[string][]ruleState, chain string, depth int) outcome {
	if depth > deepest {
		return goesOn
	}
	for _, r := range of[chain] {
		end, kind, to := r.unconditional()
		switch {
		case end != goesOn:
			return end
		case kind == ruleset.Return:
			return goesOn
		case kind == ruleset.Goto:
			return endOf(of, to, depth+1)
		case kind == ruleset.Jump:
			if end := endOf(of, to, depth+1); end != goesOn {
				return end
			}
		}
	}
	return goesOn
}

// unconditional says what a rule does with every packet: its end, or which chain it
// leads to.
func (r ruleState) unconditional() (end outcome, kind ruleset.VerdictKind, to string) {
	for _, e := range r.expressions {
		switch e.name {
		case "counter", "log":
		case "match": // of iptables
			if textOf(attribute(e.data, unix.NFTA_MATCH_NAME)) != "comment" {
				return goesOn, "", ""
			}
		case "reject":
			return rejects, "", ""
		case "target": // of iptables, which has its other ends as verdicts
			if textOf(attribute(e.data, unix.NFTA_TARGET_NAME)) == "REJECT" {
				return rejects, "", ""
			}
		case "immediate":
			if verdict := attribute(e.data, unix.NFTA_IMMEDIATE_DATA, unix.NFTA_DATA_VERDICT); verdict != nil {
				return verdictOf(verdict)
			} // otherwise it is a number for the expression behind it
		case "meta":
			if attribute(e.data, unix.NFTA_META_SREG) == nil { // it is read to be compared
				return goesOn, "", ""
			}
		default:
			return goesOn, "", ""
		}
	}
	return goesOn, "", ""
}

func verdictOf(verdict []byte) (end outcome, kind ruleset.VerdictKind, to string) {
	code := int32(numberOf(attribute(verdict, unix.NFTA_VERDICT_CODE)))
	for k, known := range verdicts {
		if int32(known) == code {
			kind = k
		}
	}
	switch kind {
	case ruleset.Accept:
		return accepts, "", ""
	case ruleset.Drop:
		return drops, "", ""
	default:
	}
	return goesOn, kind, textOf(attribute(verdict, unix.NFTA_VERDICT_CHAIN))
}

// legacyNames lists the tables of the iptables before nftables, in this namespace.
const legacyNames = "/proc/thread-self/net/ip_tables_names"

// legacyTables reports whether there are tables of the iptables before nftables that
// may drop what is forwarded. Nftables does not show them.
func legacyTables() (bool, error) {
	names, err := os.ReadFile(legacyNames)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	return slices.ContainsFunc(strings.Fields(string(names)), func(name string) bool {
		return name == "filter" || name == "mangle" || name == "security"
	}), err
}
