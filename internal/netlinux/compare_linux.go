package netlinux

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/ruleset"
)

// Missing says what of the tables the kernel does not have, or has otherwise: a line
// for people for each thing, none if all is there. It sees tables, chains with their
// hooks and policies, rules by their number, their kinds of conditions, the sets that
// they look into and their comments, sets and elements. What others have added to the tables that is not in
// the way is not mentioned.
func (h *Host) Missing(tables []ruleset.Table) ([]string, error) {
	var all []string
	for _, t := range tables {
		c := comparison{host: h, table: t, subject: fmt.Sprintf("table %s %s", t.Family, t.Name)}
		if err := c.run(); err != nil {
			return nil, h.nftFailed("look at", c.subject, err)
		}
		all = append(all, c.lines...)
	}
	return all, nil
}

// comparison is of one table.
type comparison struct {
	host    *Host
	table   ruleset.Table
	subject string
	lines   []string
}

func (c *comparison) say(format string, args ...any) {
	c.lines = append(c.lines, fmt.Sprintf(format, args...)+" in "+c.subject)
}

func (c *comparison) run() error {
	there, err := c.host.table(c.table.Family, c.table.Name)
	if errors.Is(err, fs.ErrNotExist) {
		c.lines = append(c.lines, c.subject+" is gone")
		return nil
	}
	if err != nil {
		return err
	}
	if there.Comment != shortened(c.table.Comment) {
		c.lines = append(c.lines, fmt.Sprintf("%s has the comment %q instead of %q", c.subject, there.Comment, c.table.Comment))
	}
	if err := c.chains(); err != nil {
		return err
	}
	return c.sets()
}

func (c *comparison) chains() error {
	chains, err := c.host.chains(c.table.Family)
	if err != nil {
		return err
	}
	rules, err := c.host.nftRules(c.table.Family, c.table.Name, "")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, want := range c.table.Chains {
		i := slices.IndexFunc(chains, func(s chainState) bool { return s.table == c.table.Name && s.name == want.Name })
		if i < 0 {
			c.say("chain %s is gone", want.Name)
			continue
		}
		if !chains[i].is(want.Hook) {
			c.say("chain %s has another hook or policy", want.Name)
		}
		c.rules(want, slices.DeleteFunc(slices.Clone(rules), func(r ruleState) bool { return r.chain != want.Name }))
	}
	return nil
}

// is reports whether a chain is called as it should be. A chain whose device was made
// anew has lost it.
func (s chainState) is(want *ruleset.Hook) bool {
	if want == nil || !s.base {
		return want == nil && !s.base
	}
	policy := uint32(policyAccept)
	if want.Drop {
		policy = policyDrop
	}
	return s.kind == want.Type && s.hook == hooks[want.Point] && s.priority == want.Priority && s.policy == policy &&
		(want.Device == "" || slices.Contains(s.devices, want.Device))
}

func (c *comparison) rules(chain ruleset.Chain, there []ruleState) {
	var want []compiledRule
	for _, r := range chain.Rules {
		want = append(want, compileRule(c.table.Family, r)...)
	}
	if len(want) != len(there) {
		c.say("chain %s has %d rules instead of %d", chain.Name, len(there), len(want))
		return
	}
	for i, r := range want {
		if r.shape() != there[i].shape() {
			c.say("rule %d of chain %s is another", i+1, chain.Name)
		}
	}
}

// shape is what two equal rules have in common however they were made: the names of
// their expressions and of the sets they look into, and their comment.
func (r ruleState) shape() string {
	var b strings.Builder
	for _, e := range r.expressions {
		b.WriteString(e.name + " ")
		if e.name == "lookup" {
			b.WriteString(textOf(attribute(e.data, unix.NFTA_LOOKUP_SET)) + " ")
		}
	}
	return b.String() + r.comment
}

func (r compiledRule) shape() string {
	state := ruleState{comment: shortened(r.comment)}
	for _, e := range r.expressions {
		if _, is := e.(forward); is {
			state.expressions = append(state.expressions, expression{name: "immediate"}, expression{name: forwardName})
			continue
		}
		value, err := expr.Marshal(0, e)
		if err != nil { // then it was never made
			continue
		}
		state.expressions = append(state.expressions, expressionOf(value))
	}
	return state.shape()
}

func (c *comparison) sets() error {
	sets, err := c.host.sets(c.table.Family, c.table.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, want := range c.table.Sets {
		i := slices.IndexFunc(sets, func(s setState) bool { return s.name == want.Name })
		switch {
		case i < 0:
			c.say("set %s is gone", want.Name)
			continue
		case sets[i].kind != typeOf(want.Key) || sets[i].flags&setFlagsMask != setFlags(want):
			c.say("set %s is of another kind", want.Name)
			continue
		}
		if err := c.elements(want); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) elements(want ruleset.Set) error {
	there, err := c.host.elements(c.table.Family, c.table.Name, want.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // gone since
		return err
	}
	has, layout, lost := contents(there), layoutOf(want), 0
	for _, e := range want.Elements {
		if !has.whole(layout, e) {
			lost++
		}
	}
	if lost > 0 {
		c.say("set %s lacks %d of %d elements", want.Name, lost, len(want.Elements))
	}
	return nil
}

// content is what a set has, in a form that can be compared.
type content map[string]bool

func contents(all []elementState) content {
	has := content{}
	for _, e := range all {
		has[e.what+" "+e.comment] = true
	}
	return has
}

// whole reports whether all parts of an element are there, with the same data and
// comment.
func (c content) whole(l layout, e ruleset.Element) bool {
	var list attributes
	if err := list.element(l, e, false); err != nil {
		return false // it can't have been made
	}
	for _, part := range attributesOf(list) {
		state := elementOf(part)
		if !c[state.what+" "+state.comment] {
			return false
		}
	}
	return true
}
