package nettest

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// object is a kind of what nftables has, and how it is asked for. What changes by
// itself, or follows from other objects, is left out of its text. The numbers are
// those of linux/netfilter/nf_tables.h.
type object struct {
	name    string
	request uint16
	omit    []uint16
	list    uint16 // the attribute with expressions, 0: none
}

var objects = []object{
	{"table", unix.NFT_MSG_GETTABLE, []uint16{unix.NFTA_TABLE_USE}, 0},
	{"chain", unix.NFT_MSG_GETCHAIN, []uint16{unix.NFTA_CHAIN_USE, unix.NFTA_CHAIN_COUNTERS}, 0},
	// The position is the handle of the rule before, which is in the text of that one.
	{"rule", unix.NFT_MSG_GETRULE, []uint16{unix.NFTA_RULE_POSITION}, unix.NFTA_RULE_EXPRESSIONS},
	{"set", unix.NFT_MSG_GETSET, nil, 0},
}

// ruleset returns a line for each object of nftables in the thread's namespace: its
// attributes by their numbers. It reads what the kernel sends, not what a library
// knows of it: a change of anything is seen.
func ruleset() (lines []string, err error) {
	for _, kind := range objects {
		answers, err := dump(kind.request, unix.NFPROTO_UNSPEC)
		if err != nil {
			return nil, fmt.Errorf("list each %s of nftables: %w", kind.name, err)
		}
		order := map[string]int{}
		for _, answer := range answers {
			text, err := attributes(answer[4:], kind.omit, kind.list)
			if err != nil {
				return nil, err
			}
			if kind.name == "rule" {
				chain, _, _ := strings.Cut(text, fmt.Sprintf(" %d=", unix.NFTA_RULE_HANDLE))
				chain = fmt.Sprint(answer[0], chain)
				order[chain]++
				text = fmt.Sprintf("%s (rule %d)", text, order[chain])
			}
			lines = append(lines, fmt.Sprintf("nft %s: family %d%s", kind.name, answer[0], text))
			if kind.name != "set" {
				continue
			}
			elements, err := elements(answer)
			if err != nil {
				return nil, err
			}
			lines = append(lines, elements...)
		}
	}
	return lines, nil
}

// dump asks for all objects of a kind. Questions and answers start with struct
// nfgenmsg: family, version, resource id.
func dump(kind uint16, family uint8, attrs ...*nl.RtAttr) ([][]byte, error) {
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|int(kind), unix.NLM_F_DUMP)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: family})
	for _, a := range attrs {
		request.AddData(a)
	}
	return request.Execute(unix.NETLINK_NETFILTER, 0)
}

// elements returns a line for each element of a set that was put there and not
// learned.
func elements(set []byte) (lines []string, err error) {
	attrs, err := nl.ParseRouteAttr(set[4:])
	if err != nil {
		return nil, err
	}
	var table, name []byte
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.NFTA_SET_TABLE:
			table = a.Value
		case unix.NFTA_SET_NAME:
			name = a.Value
		}
	}
	answers, err := dump(unix.NFT_MSG_GETSETELEM, set[0],
		nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, table), nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, name))
	if err != nil {
		return nil, fmt.Errorf("list the elements of %s: %w", name, err)
	}
	for _, answer := range answers {
		parts, err := nl.ParseRouteAttr(answer[4:])
		if err != nil {
			return nil, err
		}
		for _, part := range parts {
			if part.Attr.Type&^unix.NLA_F_NESTED != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			texts, err := given(part.Value)
			if err != nil {
				return nil, err
			}
			for _, text := range texts {
				lines = append(lines, fmt.Sprintf("nft element: family %d, table %s, set %s%s", set[0], printable(table), printable(name), text))
			}
		}
	}
	return lines, nil
}

// given returns the texts of the elements in a list that don't expire.
func given(list []byte) (texts []string, err error) {
	all, err := nl.ParseRouteAttr(list)
	if err != nil {
		return nil, err
	}
	for _, element := range all {
		text, err := attributes(element.Value, []uint16{unix.NFTA_SET_ELEM_EXPR, 11}, 0) // 11: NFTA_SET_ELEM_EXPRESSIONS
		if err != nil {
			return nil, err
		}
		if !strings.Contains(text, fmt.Sprintf(" %d=", unix.NFTA_SET_ELEM_EXPIRATION)) {
			texts = append(texts, text)
		}
	}
	return texts, nil
}

// attributes returns the text " 1=... 2=..." of a message's attributes. The one whose
// number is list has expressions.
func attributes(b []byte, omit []uint16, list uint16) (string, error) {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, a := range attrs {
		kind := a.Attr.Type &^ unix.NLA_F_NESTED
		if slices.Contains(omit, kind) {
			continue
		}
		value := printable(a.Value)
		if kind == list {
			if value, err = expressions(a.Value); err != nil {
				return "", err
			}
		}
		fmt.Fprintf(&text, " %d=%s", kind, value)
	}
	return text.String(), nil
}

// expressions returns the names and the data of a rule's expressions, but not what a
// counter has counted.
func expressions(b []byte) (string, error) {
	list, err := nl.ParseRouteAttr(b)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, item := range list {
		attrs, err := nl.ParseRouteAttr(item.Value)
		if err != nil {
			return "", err
		}
		var name, data string
		for _, a := range attrs {
			switch a.Attr.Type &^ unix.NLA_F_NESTED {
			case unix.NFTA_EXPR_NAME:
				name = printable(a.Value)
			case unix.NFTA_EXPR_DATA:
				data = hex.EncodeToString(a.Value)
			}
		}
		if name == "counter" {
			data = ""
		}
		fmt.Fprintf(&text, "[%s %s]", name, data)
	}
	return text.String(), nil
}

// printable returns text as it is, and all else in hexadecimal digits.
func printable(b []byte) string {
	text := strings.TrimSuffix(string(b), "\x00")
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return text
	}
	return hex.EncodeToString(b)
}
