package netlinux

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netplan"
)

// actions of routing rules, FR_ACT_* of linux/fib_rules.h.
const (
	actionTable       = 1
	actionUnreachable = 7
)

// AddRule adds a routing rule for IPv4. It is no error if the very same rule is
// there already.
func (h *Host) AddRule(r netplan.RoutingRule) error {
	err := h.handle.RuleAdd(rule(r))
	if errors.Is(err, fs.ErrExist) { // the kernel compares all of it
		return nil
	}
	return failed(errcode.NetworkFailed, "add routing rule", ruleText(r), err)
}

// DeleteRule removes a rule that AddRule has added. It is no error if it is gone.
func (h *Host) DeleteRule(r netplan.RoutingRule) error {
	const op = "delete routing rule"
	rules, err := h.rules()
	if err != nil {
		return failed(errcode.NetworkFailed, op, ruleText(r), err)
	}
	// The kernel would take any rule that has what is named, others that have more
	// included. Nobody else's has our number.
	if !slices.Contains(rules, keptRule{r, protocol}) {
		return nil
	}
	err = h.handle.RuleDel(rule(r))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return failed(errcode.NetworkFailed, op, ruleText(r), err)
}

// HasRule reports whether the rule is there, whoever has added it.
func (h *Host) HasRule(r netplan.RoutingRule) (bool, error) {
	rules, err := h.rules()
	return slices.ContainsFunc(rules, func(k keptRule) bool { return k.RoutingRule == r }),
		failed(errcode.NetworkFailed, "look up routing rule", ruleText(r), err)
}

// rule returns the library's form of a routing rule.
func rule(r netplan.RoutingRule) *netlink.Rule {
	made := netlink.NewRule()
	made.Priority, made.IifName, made.Mark, made.Table, made.Protocol = r.Priority, r.InIface, r.Mark, r.Table, protocol
	made.Type = actionTable
	if r.Unreachable {
		made.Type = actionUnreachable
	}
	return made
}

// keptRule is a routing rule as the kernel has it.
type keptRule struct {
	netplan.RoutingRule
	protocol uint8
}

// rules returns those IPv4 rules that can be said as a [netplan.RoutingRule]. (The
// library's list does not tell what a rule does.)
func (h *Host) rules() ([]keptRule, error) {
	messages, err := dump(func() ([][]byte, error) {
		return h.route.get(unix.RTM_GETRULE, unix.NLM_F_DUMP, unix.RTM_NEWRULE, nl.NewIfInfomsg(unix.AF_INET))
	})
	if err != nil {
		return nil, err
	}
	var rules []keptRule
	for _, m := range messages {
		k, plain, err := parseRule(m)
		if err != nil {
			return nil, err
		}
		if plain {
			rules = append(rules, k)
		}
	}
	return rules, nil
}

// parseRule reads the payload of an RTM_NEWRULE. Plain is false for a rule that
// selects or does something that ours never do.
func parseRule(message []byte) (k keptRule, plain bool, err error) {
	if len(message) < unix.SizeofRtMsg {
		return k, false, errors.New("the kernel's answer is too short for a routing rule")
	}
	head := nl.DeserializeRtMsg(message)
	attributes, err := nl.ParseRouteAttr(message[unix.SizeofRtMsg:])
	if err != nil {
		return k, false, err
	}
	plain = head.Flags&netlink.FibRuleInvert == 0 && head.Tos == 0 && (head.Type == actionTable || head.Type == actionUnreachable)
	k.Unreachable = head.Type == actionUnreachable
	for _, a := range attributes {
		value := number(a.Value)
		switch a.Attr.Type {
		case nl.FRA_PRIORITY:
			k.Priority = int(value)
		case nl.FRA_IIFNAME:
			k.InIface = unix.ByteSliceToString(a.Value)
		case nl.FRA_FWMARK:
			k.Mark = value
		case nl.FRA_TABLE:
			k.Table = int(value)
		case nl.FRA_PROTOCOL:
			k.protocol = a.Value[0]
		case nl.FRA_FWMASK, nl.FRA_SUPPRESS_PREFIXLEN, nl.FRA_SUPPRESS_IFGROUP:
			plain = plain && value == 1<<32-1 // says nothing
		default:
			plain = false
		}
	}
	return k, plain, nil
}

func ruleText(r netplan.RoutingRule) string {
	text := fmt.Sprintf("%d: iif %s", r.Priority, r.InIface)
	if r.Mark != 0 {
		text += fmt.Sprintf(" fwmark %#x", r.Mark)
	}
	if r.Unreachable {
		return text + " unreachable"
	}
	return text + fmt.Sprintf(" lookup %d", r.Table)
}
