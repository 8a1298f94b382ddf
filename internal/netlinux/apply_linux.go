package netlinux

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// ownMark is how the comment of every table of smartvm's begins.
const ownMark = "smartvm "

// Replace makes the tables in one transaction; one that is there already is removed
// by the same transaction. A packet that is on its way in that instant may meet neither,
// see [Host.Exchange]. A table of the same name
// whose comment begins with other words than that of the new one, those of netplan's
// Owner.Mark, is somebody else's: then nothing is changed, and the error is
// [errcode.BridgeSetupFailed].
func (h *Host) Replace(tables []ruleset.Table) error {
	t := &transaction{}
	for _, table := range tables {
		if err := h.mayReplace(table); err != nil {
			return err
		}
		bare := ruleset.Table{Family: table.Family, Name: table.Name}
		t.addTable(bare) // so that it can be deleted, whether it was there or not
		t.deleteTable(bare)
		t.addTable(table)
		t.fill(table)
	}
	return h.commit("replace", t)
}

// Make makes a table that is not there. Rules of it may send frames through links. The
// error matches [fs.ErrExist] when there is a table of that name with the same chains.
//
// Unlike [Host.Replace] it removes nothing, so that nobody waits when h is closed: the
// kernel lets a socket go when all is gone that was removed through it, 15 ms later.
func (h *Host) Make(table ruleset.Table) error {
	t := &transaction{links: h.index}
	t.addTable(table)
	t.fill(table)
	return h.commit("make", t)
}

// mayReplace fails for a table of somebody else.
func (h *Host) mayReplace(table ruleset.Table) error {
	there, err := h.table(table.Family, table.Name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && owner(there.Comment) == owner(table.Comment) {
		return nil
	}
	subject := fmt.Sprintf("table %s %s", table.Family, table.Name)
	if err != nil {
		return h.nftFailed("look at", subject, err)
	}
	whose := "it has no mark of smartvm"
	if there.Comment != "" {
		whose = fmt.Sprintf("its mark is %q", there.Comment)
	}
	return &errcode.Error{
		Code: errcode.BridgeSetupFailed, Op: "replace", Subject: subject,
		Err:  fmt.Errorf("it belongs to somebody else: %s", whose),
		Hint: "choose another name for the bridge",
	}
}

// owner returns the words of a comment that say whose a table is: of smartvm, which
// one, which bridge.
func owner(comment string) string {
	const words = 3
	fields := strings.SplitN(comment, " ", words+1)
	return strings.Join(fields[:min(len(fields), words)], " ")
}

// Add makes what one guest needs, in one transaction. The error matches
// [fs.ErrNotExist] when a table, a set or the guest's device is missing, and
// [fs.ErrExist] when a chain, a set or an element is there already.
func (h *Host) Add(c netplan.Change) error {
	t := &transaction{}
	for _, chain := range c.Chains {
		t.addChain(chain.Family, chain.Table, chain.Item)
	}
	t.addRest(c)
	return h.commit("add", t)
}

// Exchange takes away what old has, and adds what now has. A chain that is in both stays,
// with other rules: a packet meets all of its old rules or all of its new ones. All else
// has other names in now than in old. The error matches [fs.ErrNotExist] or [fs.ErrExist]
// when the kernel does not have just what old says; then nothing that counts is changed.
//
// It takes two transactions. In one, the kernel would show the new rules first and fill
// the new sets after that, one after the other, and a packet could meet some of them
// empty. Whole tables can't be exchanged without such moments: while [Host.Replace] does
// it, a packet may also meet base chains that have no rules yet.
func (h *Host) Exchange(old, now netplan.Change) error {
	fresh := now
	fresh.Chains = without(now.Chains, old.Chains)
	if err := h.Add(fresh); err != nil {
		return err
	}
	t := &transaction{}
	for _, chain := range old.Chains {
		t.flushChain(chain.Family, chain.Table, chain.Item.Name)
	}
	for _, s := range old.Sets {
		t.deleteSet(s.Family, s.Table, s.Item.Name)
	}
	for _, chain := range without(old.Chains, now.Chains) {
		t.deleteChain(chain.Family, chain.Table, chain.Item.Name)
	}
	for _, chain := range now.Chains {
		if !slices.ContainsFunc(fresh.Chains, sameChain(chain)) {
			t.addRules(chain.Family, chain.Table, chain.Item)
		}
	}
	if err := h.commit("exchange", t); err != nil {
		return errors.Join(err, h.Remove(fresh))
	}
	return nil
}

// without returns the chains that are not among the others, by their names.
func without(chains, others []netplan.InTable[ruleset.Chain]) []netplan.InTable[ruleset.Chain] {
	var left []netplan.InTable[ruleset.Chain]
	for _, c := range chains {
		if !slices.ContainsFunc(others, sameChain(c)) {
			left = append(left, c)
		}
	}
	return left
}

func sameChain(a netplan.InTable[ruleset.Chain]) func(netplan.InTable[ruleset.Chain]) bool {
	return func(b netplan.InTable[ruleset.Chain]) bool {
		return a.Family == b.Family && a.Table == b.Table && a.Item.Name == b.Item.Name
	}
}

// addRest adds all of a change but its chains, whose rules it adds.
func (t *transaction) addRest(c netplan.Change) {
	for _, s := range c.Sets {
		t.addSet(s.Family, s.Table, s.Item)
	}
	for _, s := range c.Sets {
		t.addElements(s.Family, s.Table, s.Item, s.Item.Elements)
	}
	for _, e := range c.Elements {
		t.addElements(e.Family, e.Table, e.Item.Set, e.Item.Elements)
	}
	for _, chain := range c.Chains {
		t.addRules(chain.Family, chain.Table, chain.Item)
	}
}

// RemoveTables removes the tables of that name in all families, those whose comment is
// the mark, perhaps with words behind it. Others stay. It is nil when there are none.
func (h *Host) RemoveTables(name, mark string) error {
	tables, err := h.allTables()
	if err != nil {
		return h.nftFailed("list", "tables", err)
	}
	for _, table := range tables {
		if table.Name != name || !belongs(table.Comment, mark) {
			continue
		}
		t := &transaction{}
		t.message(unix.NFT_MSG_DELTABLE, 0, subject{kind: kindTable, family: table.Family, table: table.Name})
		t.number64(tableHandle, table.handle) // that one, and none that took its name meanwhile
		if err := h.commit("remove", t); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Tables returns the tables whose comment begins with "smartvm ", of whichever
// smartvm, in the families that have such.
func (h *Host) Tables() ([]TableInfo, error) {
	tables, err := h.allTables()
	if err != nil {
		return nil, h.nftFailed("list", "tables", err)
	}
	var all []TableInfo
	for _, t := range tables {
		if strings.HasPrefix(t.Comment, ownMark) {
			all = append(all, t.TableInfo)
		}
	}
	return all, nil
}
