package netlinux

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// AddAccept puts the rules at the head of the barrier's chain, marked by their
// comment, in one transaction. If they are there already it does nothing; if only
// some of them are, or more, it makes them anew. The error matches [fs.ErrNotExist]
// when the chain is gone.
func (h *Host) AddAccept(a netplan.Accept, mark string) error {
	there, err := h.acceptsOf(a.Barrier, mark)
	if err != nil || len(there) == len(a.Rules) {
		return err
	}
	t := &transaction{}
	for _, handle := range there {
		t.deleteRule(a.Family, a.Table, a.Chain, handle)
	}
	for _, r := range slices.Backward(a.Rules) { // each comes before the last one
		r.Comment = mark
		compiled := compileRule(a.Family, r)
		if isXtables(a.Barrier) {
			compiled = []compiledRule{compileXtables(r)}
		}
		for _, c := range slices.Backward(compiled) {
			t.addRule(a.Family, a.Table, a.Chain, c, 0)
		}
	}
	return h.ofOwner(a.Barrier, linkOf(a), h.commit("let guests pass", t))
}

// RemoveAccept removes the rules with that mark from the barrier's chain, and no
// others; nil when there are none.
func (h *Host) RemoveAccept(b netplan.Barrier, mark string) error {
	const tries = 3
	for try := 1; ; try++ {
		there, err := h.acceptsOf(b, mark)
		if err != nil {
			return err
		}
		t := &transaction{}
		for _, handle := range there {
			t.deleteRule(b.Family, b.Table, b.Chain, handle)
		}
		err = h.commit("remove", t)
		if !errors.Is(err, fs.ErrNotExist) || try == tries {
			return h.ofOwner(b, "BRIDGE", err)
		} // somebody else removed one meanwhile
	}
}

// HasAccept reports whether the barrier's chain has the rules. It has none when the
// chain is gone.
func (h *Host) HasAccept(a netplan.Accept, mark string) (bool, error) {
	there, err := h.acceptsOf(a.Barrier, mark)
	return len(there) == len(a.Rules), err
}

// acceptsOf returns the handles of the rules with the mark.
func (h *Host) acceptsOf(b netplan.Barrier, mark string) (handles []uint64, err error) {
	rules, err := h.nftRules(b.Family, b.Table, b.Chain)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, h.nftFailed("list", fmt.Sprintf("rules of chain %s of table %s %s", b.Chain, b.Family, b.Table), err)
	}
	for _, r := range rules {
		if r.chain == b.Chain && (r.comment == shortened(mark) || r.xtComment() == shortened(mark)) {
			handles = append(handles, r.handle)
		}
	}
	return handles, nil
}

// ofOwner explains the error of a change to a table that only the process that made
// it may change; firewalld makes such.
func (h *Host) ofOwner(b netplan.Barrier, bridge string, err error) error {
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	table, lookErr := h.table(b.Family, b.Table)
	if lookErr != nil || !table.owned {
		return err
	}
	return &errcode.Error{
		Code: errcode.NetworkFailed, Op: "let guests pass", Subject: fmt.Sprintf("chain %s of table %s %s", b.Chain, b.Family, b.Table),
		Err:  fmt.Errorf("the table's owner lets nobody else change it: %w", err),
		Hint: "allow the bridge there; in firewalld: firewall-cmd --permanent --zone=trusted --add-interface=" + bridge + ", and firewall-cmd --reload",
	}
}

// linkOf returns the name of the link that the rules are about.
func linkOf(a netplan.Accept) string {
	for _, r := range a.Rules {
		for _, m := range r.Match {
			if slices.Equal(m.Fields, []ruleset.Field{ruleset.InIface}) {
				return string(m.Range.Min)
			}
		}
	}
	return "BRIDGE"
}
