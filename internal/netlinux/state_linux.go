package netlinux

import (
	"bytes"
	"fmt"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/ruleset"
)

// tableState is a table as the kernel has it, without what is in it.
type tableState struct {
	TableInfo

	handle uint64
	// owned is set when nobody but the process that made it can change the table.
	owned bool
}

// chainState is a chain as the kernel has it.
type chainState struct {
	table, name string
	base        bool
	kind        string // filter, nat, route
	hook        uint32
	priority    int
	policy      uint32
	devices     []string
}

// ruleState is a rule as the kernel has it.
type ruleState struct {
	chain       string
	handle      uint64
	comment     string
	expressions []expression
}

// expression is a step of a rule: its name and its attributes.
type expression struct {
	name string
	data []byte
}

// allTables returns the tables of the families that are of interest here.
func (h *Host) allTables() ([]tableState, error) {
	return dump(func() (all []tableState, err error) {
		for _, family := range []ruleset.Family{ruleset.Inet, ruleset.IP, ruleset.Netdev} {
			err := h.nft.get(nftKind(unix.NFT_MSG_GETTABLE), unix.NLM_F_DUMP, families[family], nil, func(a []byte) {
				all = append(all, tableOf(family, a))
			})
			if err != nil {
				return nil, err
			}
		}
		return all, nil
	})
}

// table returns one table; the error is ENOENT if there is none.
func (h *Host) table(family ruleset.Family, name string) (table tableState, err error) {
	var question attributes
	question.text(unix.NFTA_TABLE_NAME, name)
	err = h.nft.get(nftKind(unix.NFT_MSG_GETTABLE), 0, families[family], question, func(a []byte) {
		table = tableOf(family, a)
	})
	return table, err
}

func tableOf(family ruleset.Family, a []byte) tableState {
	return tableState{
		TableInfo: TableInfo{
			Family:  family,
			Name:    textOf(attribute(a, unix.NFTA_TABLE_NAME)),
			Comment: commentOf(attribute(a, tableUserData)),
		},
		handle: numberOf(attribute(a, tableHandle)),
		owned:  numberOf(attribute(a, unix.NFTA_TABLE_FLAGS))&tableOwned != 0,
	}
}

// chains returns the chains of a family, of all its tables.
func (h *Host) chains(family ruleset.Family) ([]chainState, error) {
	return dump(func() (all []chainState, err error) {
		err = h.nft.get(nftKind(unix.NFT_MSG_GETCHAIN), unix.NLM_F_DUMP, families[family], nil, func(a []byte) {
			all = append(all, chainOf(a))
		})
		return all, err
	})
}

func chainOf(a []byte) chainState {
	c := chainState{
		table: textOf(attribute(a, unix.NFTA_CHAIN_TABLE)),
		name:  textOf(attribute(a, unix.NFTA_CHAIN_NAME)),
	}
	hook := attribute(a, unix.NFTA_CHAIN_HOOK)
	if hook == nil {
		return c
	}
	c.base = true
	c.kind = textOf(attribute(a, unix.NFTA_CHAIN_TYPE))
	c.hook = uint32(numberOf(attribute(hook, unix.NFTA_HOOK_HOOKNUM)))
	c.priority = int(int32(numberOf(attribute(hook, unix.NFTA_HOOK_PRIORITY))))
	c.policy = uint32(numberOf(attribute(a, unix.NFTA_CHAIN_POLICY)))
	for _, name := range attributesOf(attribute(hook, hookDevices)) {
		c.devices = append(c.devices, textOf(name))
	}
	if len(c.devices) == 0 {
		if name := attribute(hook, unix.NFTA_HOOK_DEV); name != nil {
			c.devices = []string{textOf(name)}
		}
	}
	return c
}

// nftRules returns the rules of a table in their order, those of one chain if it is named.
func (h *Host) nftRules(family ruleset.Family, table, chain string) ([]ruleState, error) {
	var question attributes
	question.text(unix.NFTA_RULE_TABLE, table)
	if chain != "" {
		question.text(unix.NFTA_RULE_CHAIN, chain)
	}
	return dump(func() (all []ruleState, err error) {
		err = h.nft.get(nftKind(unix.NFT_MSG_GETRULE), unix.NLM_F_DUMP, families[family], question, func(a []byte) {
			all = append(all, ruleOf(a))
		})
		return all, err
	})
}

func ruleOf(a []byte) ruleState {
	r := ruleState{
		chain:   textOf(attribute(a, unix.NFTA_RULE_CHAIN)),
		handle:  numberOf(attribute(a, unix.NFTA_RULE_HANDLE)),
		comment: commentOf(attribute(a, unix.NFTA_RULE_USERDATA)),
	}
	for _, e := range attributesOf(attribute(a, unix.NFTA_RULE_EXPRESSIONS)) {
		r.expressions = append(r.expressions, expressionOf(e))
	}
	return r
}

func expressionOf(e []byte) expression {
	return expression{name: expressionName(e), data: bytes.Clone(attribute(e, unix.NFTA_EXPR_DATA))}
}

// setState is a set as the kernel has it, without its elements.
type setState struct {
	name  string
	flags uint32
	kind  uint32
}

func (h *Host) sets(family ruleset.Family, table string) ([]setState, error) {
	var question attributes
	question.text(unix.NFTA_SET_TABLE, table)
	return dump(func() (all []setState, err error) {
		err = h.nft.get(nftKind(unix.NFT_MSG_GETSET), unix.NLM_F_DUMP, families[family], question, func(a []byte) {
			all = append(all, setState{
				name:  textOf(attribute(a, unix.NFTA_SET_NAME)),
				flags: uint32(numberOf(attribute(a, unix.NFTA_SET_FLAGS))),
				kind:  uint32(numberOf(attribute(a, unix.NFTA_SET_KEY_TYPE))),
			})
		})
		return all, err
	})
}

// elementState is an element as the kernel has it, or a part of one, see [part].
type elementState struct {
	// what is all that decides about packets, in a form that can be compared.
	what    string
	comment string
	count   Count
}

func (h *Host) elements(family ruleset.Family, table, set string) ([]elementState, error) {
	var question attributes
	question.text(unix.NFTA_SET_ELEM_LIST_TABLE, table)
	question.text(unix.NFTA_SET_ELEM_LIST_SET, set)
	return dump(func() (all []elementState, err error) {
		err = h.nft.get(nftKind(unix.NFT_MSG_GETSETELEM), unix.NLM_F_DUMP, families[family], question, func(a []byte) {
			for _, e := range attributesOf(attribute(a, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
				all = append(all, elementOf(e))
			}
		})
		return all, err
	})
}

func elementOf(e []byte) elementState {
	key := attribute(e, unix.NFTA_SET_ELEM_KEY, unix.NFTA_DATA_VALUE)
	end := attribute(e, nftables.NFTA_SET_ELEM_KEY_END, unix.NFTA_DATA_VALUE)
	if end == nil {
		end = key // the kernel has a single value either way
	}
	verdict := attribute(e, unix.NFTA_SET_ELEM_DATA, unix.NFTA_DATA_VERDICT)
	counter := attribute(e, unix.NFTA_SET_ELEM_EXPR, unix.NFTA_EXPR_DATA)
	return elementState{
		what: fmt.Sprintf("%x %x %x %x %x %s", key, end,
			numberOf(attribute(e, unix.NFTA_SET_ELEM_FLAGS))&unix.NFT_SET_ELEM_INTERVAL_END,
			attribute(e, unix.NFTA_SET_ELEM_DATA, unix.NFTA_DATA_VALUE),
			attribute(verdict, unix.NFTA_VERDICT_CODE), textOf(attribute(verdict, unix.NFTA_VERDICT_CHAIN))),
		comment: commentOf(attribute(e, unix.NFTA_SET_ELEM_USERDATA)),
		count: Count{
			Packets: numberOf(attribute(counter, unix.NFTA_COUNTER_PACKETS)),
			Bytes:   numberOf(attribute(counter, unix.NFTA_COUNTER_BYTES)),
		},
	}
}
