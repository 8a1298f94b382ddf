package netlinux

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// For tests in the other package.
var (
	Resolvers        = resolvers
	ParseResolvers   = parseResolvers
	ProvisionalGroup = provisionalGroup
	Configure        = configure
	Resolve          = resolve
)

// FinishWireGuard is the part of AddWireGuard after the making of the link.
func (h *Host) FinishWireGuard(ctx context.Context, index int, w netplan.WireGuard, endpoints []*net.UDPAddr, mark string) error {
	return h.finishWireGuard(ctx, index, w, endpoints, mark)
}

// FirstFailed returns what the first message was about that the kernel refused.
func FirstFailed(err error) string {
	r, refused := errors.AsType[*refusal](err)
	if !refused {
		return ""
	}
	return r.about.String()
}

// AddStrange tries to make a chain of a type, and in it a rule with an expression of
// that name after one that the kernel knows.
func (h *Host) AddStrange(chainType, name string) error {
	const table = "strange"
	t := &transaction{}
	t.addTable(ruleset.Table{Family: ruleset.Inet, Name: table})
	t.addChain(ruleset.Inet, table, ruleset.Chain{Name: "c", Hook: &ruleset.Hook{Type: chainType, Point: "output"}})
	t.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE, subject{kind: kindRule, name: "c", family: ruleset.Inet, table: table})
	t.text(unix.NFTA_RULE_TABLE, table)
	t.text(unix.NFTA_RULE_CHAIN, "c")
	list := t.begin(unix.NFTA_RULE_EXPRESSIONS)
	for _, name := range []string{"counter", name} {
		e := t.begin(unix.NFTA_LIST_ELEM)
		t.text(unix.NFTA_EXPR_NAME, name)
		t.end(t.begin(unix.NFTA_EXPR_DATA))
		t.end(e)
	}
	t.end(list)
	return h.commit("add", t)
}

// AddOf tries to make a table of a family that is known by its number.
func (h *Host) AddOf(family byte) error {
	t := &transaction{}
	t.addTable(ruleset.Table{Family: ruleset.Inet, Name: "strange"})
	t.attributes[t.start+nlHeader] = family
	return h.commit("add", t)
}

// Compile returns what is wrong with a table.
func Compile(table ruleset.Table) error {
	t := &transaction{}
	t.addTable(table)
	t.fill(table)
	return t.err
}

// ReadMessages reads a datagram as if it had objects of every kind, and returns how
// many messages there were.
func ReadMessages(datagram []byte) (n int) {
	for m := range answers(datagram) {
		n++
		_, _ = m.err(), m.offset()
		_, _, _, _ = tableOf(ruleset.Inet, m.payload), chainOf(m.payload), ruleOf(m.payload), elementOf(m.payload)
	}
	return n
}

// CommentOf is the comment in what somebody has stored with a rule.
func CommentOf(data []byte) string { return commentOf(data) }

// Comment is what is stored for a comment.
func Comment(text string) []byte {
	var a attributes
	a.comment(1, text)
	return attribute(a, 1)
}

// AddOwned makes a table with a base chain that drops; nobody but h can change it.
func (h *Host) AddOwned(table, chain string) error {
	t := &transaction{}
	t.addTable(ruleset.Table{Family: ruleset.Inet, Name: table})
	t.number(unix.NFTA_TABLE_FLAGS, tableOwned)
	t.addChain(ruleset.Inet, table, ruleset.Chain{Name: chain, Hook: &ruleset.Hook{Type: "filter", Point: "forward", Drop: true}})
	return h.commit("add", t)
}
