package netlinux

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/ruleset"
)

const (
	verdictType = 0xffffff00 // NFT_DATA_VERDICT
	// Of nft's udata.h: how nft is to show numbers.
	orderHost    = 1
	orderNetwork = 2
)

// addSet makes a set without its elements. It must not exist.
func (t *transaction) addSet(family ruleset.Family, table string, s ruleset.Set) {
	about := subject{kind: kindSet, name: s.Name, family: family, table: table}
	t.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE|unix.NLM_F_EXCL, about)
	for _, f := range slices.Concat(s.Key, s.Data) {
		if _, known := fieldsOf[f]; !known || s.Interval && fieldsOf[f].host {
			t.fail(about, fmt.Errorf("there are no sets of this kind with %q", f))
		}
	}
	t.text(unix.NFTA_SET_TABLE, table)
	t.text(unix.NFTA_SET_NAME, s.Name)
	t.number(unix.NFTA_SET_FLAGS, setFlags(s))
	t.number(unix.NFTA_SET_KEY_TYPE, typeOf(s.Key))
	t.number(unix.NFTA_SET_KEY_LEN, sizeOf(s.Key))
	switch {
	case s.Verdicts:
		t.number(unix.NFTA_SET_DATA_TYPE, verdictType)
	case len(s.Data) > 0:
		t.number(unix.NFTA_SET_DATA_TYPE, typeOf(s.Data))
		t.number(unix.NFTA_SET_DATA_LEN, sizeOf(s.Data))
	}
	t.number(unix.NFTA_SET_ID, uint32(len(t.subjects)))
	if s.Interval && len(s.Key) > 1 { // the kernel looks ranges up field by field
		description := t.begin(unix.NFTA_SET_DESC)
		list := t.begin(nftables.NFTA_SET_DESC_CONCAT)
		for _, f := range s.Key {
			field := t.begin(unix.NFTA_LIST_ELEM)
			t.number(fieldLength, uint32(fieldsOf[f].size))
			t.end(field)
		}
		t.end(list)
		t.end(description)
	}
	t.bytes(unix.NFTA_SET_USERDATA, setData(s)...)
	if s.Counter {
		counter := t.begin(setExpression)
		t.text(unix.NFTA_EXPR_NAME, "counter")
		t.end(t.begin(unix.NFTA_EXPR_DATA))
		t.end(counter)
	}
}

// setFlagsMask are the flags of [setFlags].
const setFlagsMask = unix.NFT_SET_INTERVAL | unix.NFT_SET_MAP | nftables.NFT_SET_CONCAT

func setFlags(s ruleset.Set) (flags uint32) {
	if s.Interval {
		flags |= unix.NFT_SET_INTERVAL
	}
	if s.Verdicts || len(s.Data) > 0 {
		flags |= unix.NFT_SET_MAP
	}
	if s.Interval && len(s.Key) > 1 {
		flags |= nftables.NFT_SET_CONCAT
	}
	return flags
}

// setData is what nft wants to know for its listing.
func setData(s ruleset.Set) []byte {
	order := func(fields []ruleset.Field) uint32 {
		switch {
		case len(fields) != 1:
			return 0
		case fieldsOf[fields[0]].host, fieldsOf[fields[0]].kind == &nftables.TypeIFName:
			return orderHost
		}
		return orderNetwork
	}
	data := userdata.AppendUint32(nil, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, order(s.Key))
	if s.Verdicts || len(s.Data) > 0 {
		data = userdata.AppendUint32(data, userdata.NFTNL_UDATA_SET_DATABYTEORDER, order(s.Data))
	}
	if s.Comment != "" {
		text := s.Comment[:min(len(s.Comment), commentMax-len(data))]
		data = userdata.AppendString(data, userdata.NFTNL_UDATA_SET_COMMENT, text)
	}
	return data
}

func (t *transaction) deleteSet(family ruleset.Family, table, set string) {
	t.message(unix.NFT_MSG_DELSET, 0, subject{kind: kindSet, name: set, family: family, table: table})
	t.text(unix.NFTA_SET_TABLE, table)
	t.text(unix.NFTA_SET_NAME, set)
}
