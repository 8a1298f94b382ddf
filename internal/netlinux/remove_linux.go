package netlinux

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// Remove removes what there is of a change; nil when there is nothing of it. If some
// of it is gone, elements that have its keys and lead elsewhere stay: they are
// somebody else's by then.
func (h *Host) Remove(c netplan.Change) error {
	const tries = 3
	for try := 1; ; try++ {
		err := h.commit("remove", removal(c))
		if !errors.Is(err, fs.ErrNotExist) || try == tries {
			return err
		}
		// Somebody was here before, or a chain has gone with its device. Trying each alone
		// would take long: the kernel waits for a while before it takes back a transaction.
		if c, err = h.present(c); err != nil {
			return h.nftFailed("remove", "firewall rules", err)
		}
	}
}

// removal undoes a change: what refers to others goes first.
func removal(c netplan.Change) *transaction {
	t := &transaction{}
	for _, e := range c.Elements {
		t.deleteElements(e.Family, e.Table, e.Item.Set, e.Item.Elements)
	}
	for _, chain := range c.Chains {
		if chain.Item.Hook != nil { // nothing leads to it but its hook; its rules go with it
			t.deleteChain(chain.Family, chain.Table, chain.Item.Name)
		} else {
			t.flushChain(chain.Family, chain.Table, chain.Item.Name)
		}
	}
	for _, s := range c.Sets {
		t.deleteSet(s.Family, s.Table, s.Item.Name)
	}
	for _, chain := range c.Chains {
		if chain.Item.Hook == nil {
			t.deleteChain(chain.Family, chain.Table, chain.Item.Name)
		}
	}
	return t
}

// present returns what there is of a change.
func (h *Host) present(c netplan.Change) (there netplan.Change, err error) {
	look := looked{host: h, chains: map[ruleset.Family][]chainState{}, sets: map[tableName][]setState{}}
	for _, chain := range c.Chains {
		if look.hasChain(chain.Family, chain.Table, chain.Item.Name) {
			there.Chains = append(there.Chains, chain)
		}
	}
	for _, s := range c.Sets {
		if look.hasSet(s.Family, s.Table, s.Item.Name) {
			there.Sets = append(there.Sets, s)
		}
	}
	for _, e := range c.Elements {
		if e.Item.Elements = look.elements(e); len(e.Item.Elements) > 0 {
			there.Elements = append(there.Elements, e)
		}
	}
	return there, look.err
}

type tableName struct {
	family ruleset.Family
	name   string
}

// looked is what has been read so far.
type looked struct {
	host   *Host
	chains map[ruleset.Family][]chainState
	sets   map[tableName][]setState
	err    error
}

func (l *looked) note(err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		l.err = errors.Join(l.err, err)
	}
}

func (l *looked) hasChain(family ruleset.Family, table, chain string) bool {
	all, read := l.chains[family]
	if !read {
		var err error
		all, err = l.host.chains(family)
		l.note(err)
		l.chains[family] = all
	}
	return slices.ContainsFunc(all, func(c chainState) bool { return c.table == table && c.name == chain })
}

func (l *looked) hasSet(family ruleset.Family, table, set string) bool {
	key := tableName{family, table}
	all, read := l.sets[key]
	if !read {
		var err error
		all, err = l.host.sets(family, table)
		l.note(err)
		l.sets[key] = all
	}
	return slices.ContainsFunc(all, func(s setState) bool { return s.name == set })
}

// elements returns those that the set has exactly so.
func (l *looked) elements(e netplan.InTable[netplan.NewElements]) []ruleset.Element {
	all, err := l.host.elements(e.Family, e.Table, e.Item.Set.Name)
	l.note(err)
	has := contents(all)
	layout := layoutOf(e.Item.Set)
	return slices.DeleteFunc(slices.Clone(e.Item.Elements), func(e ruleset.Element) bool { return !has.whole(layout, e) })
}
