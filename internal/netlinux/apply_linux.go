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

// Exchange takes away what old has, and adds what now has, in one transaction. A chain
// that is in both stays, with other rules: a packet in a chain that leads to it meets all
// of its old rules or all of its new ones. In the sets of old it may find nothing by
// then. The error matches [fs.ErrNotExist] or [fs.ErrExist] when the kernel does not
// have just what old says; then nothing is changed.
//
// Whole tables can't be exchanged like that. While [Host.Replace] does it, a packet may
// meet base chains that have no rules yet, and then those that have none any more.
func (h *Host) Exchange(old, now netplan.Change) error {
	has := func(c netplan.Change, chain netplan.InTable[ruleset.Chain]) bool {
		return slices.ContainsFunc(c.Chains, func(other netplan.InTable[ruleset.Chain]) bool {
			return other.Family == chain.Family && other.Table == chain.Table && other.Item.Name == chain.Item.Name
		})
	}
	t := &transaction{}
	for _, chain := range old.Chains {
		t.flushChain(chain.Family, chain.Table, chain.Item.Name)
	}
	for _, s := range old.Sets {
		t.deleteSet(s.Family, s.Table, s.Item.Name)
	}
	for _, chain := range old.Chains {
		if !has(now, chain) {
			t.deleteChain(chain.Family, chain.Table, chain.Item.Name)
		}
	}
	for _, chain := range now.Chains {
		if !has(old, chain) {
			t.addChain(chain.Family, chain.Table, chain.Item)
		}
	}
	t.addRest(now)
	return h.commit("exchange", t)
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
