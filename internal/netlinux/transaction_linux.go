package netlinux

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/ruleset"
)

// transaction is messages to nftables of which the kernel takes all or none. The
// order of messages is the order in which it looks at them.
type transaction struct {
	attributes // of all messages, with their headers
	start      int
	subjects   []subject
	err        error // of a value that no message can be made of
	// links finds the numbers of links, for rules that send frames through one.
	links func(name string) (index int, err error)
}

// subject says what a message is about.
type subject struct {
	at     int // where the message begins
	kind   string
	name   string
	family ruleset.Family
	table  string
	// module is the kernel module that the object needs, if there is a special one.
	module string
	// device is that of a chain that belongs to one.
	device string
}

// String returns "chain forward of table inet smartvm-svbr0".
func (s subject) String() string {
	table := "table " + string(s.family) + " " + s.table
	if s.kind == kindTable {
		return table
	}
	return s.kind + " " + s.name + " of " + table
}

// Kinds of subjects.
const (
	kindTable   = "table"
	kindChain   = "chain"
	kindSet     = "set"
	kindElement = "an element of set"
	kindRule    = "a rule of chain"
)

// families are the numbers of address families (linux/netfilter.h).
var families = map[ruleset.Family]byte{
	ruleset.Inet: unix.NFPROTO_INET, ruleset.IP: unix.NFPROTO_IPV4, ruleset.Netdev: unix.NFPROTO_NETDEV,
}

// message begins one; it ends with the next, or with the transaction. Flags are those
// beside NLM_F_REQUEST.
func (t *transaction) message(kind, flags uint16, about subject) {
	t.seal()
	if len(t.subjects) == 0 {
		t.attributes = appendHeader(t.attributes, unix.NFNL_MSG_BATCH_BEGIN, unix.NLM_F_REQUEST, 0)
		t.sealBatch(0)
	}
	about.at = len(t.attributes)
	t.subjects = append(t.subjects, about)
	t.start = about.at
	t.attributes = appendHeader(t.attributes, nftKind(kind), unix.NLM_F_REQUEST|flags, families[about.family])
	binary.NativeEndian.PutUint32(t.attributes[t.start+8:], uint32(len(t.subjects)))
}

// seal writes the length of the last message.
func (t *transaction) seal() {
	if len(t.subjects) > 0 {
		binary.NativeEndian.PutUint32(t.attributes[t.start:], uint32(len(t.attributes)-t.start))
	}
}

// sealBatch is [transaction.seal] for the messages around the others, which say
// whom they are for.
func (t *transaction) sealBatch(start int) {
	binary.NativeEndian.PutUint32(t.attributes[start:], uint32(len(t.attributes)-start))
	binary.BigEndian.PutUint16(t.attributes[start+nlHeader+2:], unix.NFNL_SUBSYS_NFTABLES)
}

// finish returns what is to be sent. The last message is the only one that the kernel
// answers when all is well.
func (t *transaction) finish() []byte {
	t.seal()
	flags := t.attributes[t.start+6:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|unix.NLM_F_ACK)
	end := len(t.attributes)
	t.attributes = appendHeader(t.attributes, unix.NFNL_MSG_BATCH_END, unix.NLM_F_REQUEST, 0)
	t.sealBatch(end)
	return t.attributes
}

// appendHeader appends the headers of a message.
func appendHeader(b []byte, kind, flags uint16, family byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // sequence and port
	return append(b, family, unix.NFNETLINK_V0, 0, 0)
}

func nftKind(kind uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | kind }

// addTable makes a table, or does nothing if it exists.
func (t *transaction) addTable(table ruleset.Table) {
	t.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, subject{kind: kindTable, family: table.Family, table: table.Name})
	t.text(unix.NFTA_TABLE_NAME, table.Name)
	if table.Comment != "" {
		t.comment(tableUserData, table.Comment)
	}
}

func (t *transaction) deleteTable(table ruleset.Table) {
	t.message(unix.NFT_MSG_DELTABLE, 0, subject{kind: kindTable, family: table.Family, table: table.Name})
	t.text(unix.NFTA_TABLE_NAME, table.Name)
}

// fill adds what is in a table that has none of it.
func (t *transaction) fill(table ruleset.Table) {
	for _, c := range table.Chains {
		t.addChain(table.Family, table.Name, c)
	}
	for _, s := range table.Sets {
		t.addSet(table.Family, table.Name, s)
	}
	for _, s := range table.Sets {
		t.addElements(table.Family, table.Name, s, s.Elements)
	}
	for _, c := range table.Chains {
		t.addRules(table.Family, table.Name, c)
	}
}

// hooks are the numbers of hooks, by the family and the hook's name
// (linux/netfilter.h, linux/netfilter_netdev.h).
var hooks = map[string]uint32{
	"prerouting": unix.NF_INET_PRE_ROUTING, "input": unix.NF_INET_LOCAL_IN, "forward": unix.NF_INET_FORWARD,
	"output": unix.NF_INET_LOCAL_OUT, "postrouting": unix.NF_INET_POST_ROUTING, "ingress": unix.NF_NETDEV_INGRESS,
}

const (
	policyDrop   = 0 // NF_DROP
	policyAccept = 1 // NF_ACCEPT
)

// addChain makes a chain without its rules. It must not exist: what somebody has left
// in it would come before them.
func (t *transaction) addChain(family ruleset.Family, table string, c ruleset.Chain) {
	about := subject{kind: kindChain, name: c.Name, family: family, table: table}
	if h := c.Hook; h != nil {
		about.device = h.Device
		if h.Type == "nat" {
			about.module = "nft_chain_nat"
		}
	}
	t.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE|unix.NLM_F_EXCL, about)
	t.text(unix.NFTA_CHAIN_TABLE, table)
	t.text(unix.NFTA_CHAIN_NAME, c.Name)
	h := c.Hook
	if h == nil {
		return
	}
	number, known := hooks[h.Point]
	if !known {
		t.fail(about, fmt.Errorf("there is no hook %q", h.Point))
	}
	t.text(unix.NFTA_CHAIN_TYPE, h.Type)
	policy := uint32(policyAccept)
	if h.Drop {
		policy = policyDrop
	}
	t.number(unix.NFTA_CHAIN_POLICY, policy)
	hook := t.begin(unix.NFTA_CHAIN_HOOK)
	t.number(unix.NFTA_HOOK_HOOKNUM, number)
	t.number(unix.NFTA_HOOK_PRIORITY, uint32(int32(h.Priority)))
	if h.Device != "" {
		t.text(unix.NFTA_HOOK_DEV, h.Device)
	}
	t.end(hook)
}

func (t *transaction) deleteChain(family ruleset.Family, table, chain string) {
	t.message(unix.NFT_MSG_DELCHAIN, 0, subject{kind: kindChain, name: chain, family: family, table: table})
	t.text(unix.NFTA_CHAIN_TABLE, table)
	t.text(unix.NFTA_CHAIN_NAME, chain)
}

// addRules appends the rules of a chain.
func (t *transaction) addRules(family ruleset.Family, table string, c ruleset.Chain) {
	for _, r := range c.Rules {
		for _, compiled := range compileRule(family, r) {
			t.addRule(family, table, c.Name, compiled, unix.NLM_F_APPEND)
		}
	}
}

// addRule adds a rule at the end of a chain with NLM_F_APPEND, else at its head.
func (t *transaction) addRule(family ruleset.Family, table, chain string, r compiledRule, flags uint16) {
	about := subject{kind: kindRule, name: chain, family: family, table: table}
	t.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|flags, about)
	if r.err != nil {
		t.fail(about, r.err)
	}
	t.text(unix.NFTA_RULE_TABLE, table)
	t.text(unix.NFTA_RULE_CHAIN, chain)
	list := t.begin(unix.NFTA_RULE_EXPRESSIONS)
	for _, e := range r.expressions {
		t.expression(about, e)
	}
	t.end(list)
	if r.comment != "" {
		t.comment(unix.NFTA_RULE_USERDATA, r.comment)
	}
}

// flushChain deletes all rules of a chain.
func (t *transaction) flushChain(family ruleset.Family, table, chain string) {
	t.message(unix.NFT_MSG_DELRULE, 0, subject{kind: kindChain, name: chain, family: family, table: table})
	t.text(unix.NFTA_RULE_TABLE, table)
	t.text(unix.NFTA_RULE_CHAIN, chain)
}

func (t *transaction) deleteRule(family ruleset.Family, table, chain string, handle uint64) {
	t.message(unix.NFT_MSG_DELRULE, 0, subject{kind: kindRule, name: chain, family: family, table: table})
	t.text(unix.NFTA_RULE_TABLE, table)
	t.text(unix.NFTA_RULE_CHAIN, chain)
	t.number64(unix.NFTA_RULE_HANDLE, handle)
}

// fail records the first value that no message can be made of.
func (t *transaction) fail(about subject, err error) {
	if t.err == nil {
		t.err = fmt.Errorf("%v: %w", about, err)
	}
}

// typeOf is a type of nft's as the kernel stores it for nft: of a concatenation six
// bits for each field.
func typeOf(fields []ruleset.Field) (kind uint32) {
	for _, f := range fields {
		kind = kind<<nftables.SetConcatTypeBits | fieldsOf[f].kind.GetNFTMagic()
	}
	return kind
}
