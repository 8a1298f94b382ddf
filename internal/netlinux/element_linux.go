package netlinux

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/ruleset"
)

const (
	// chunkSize is how much of elements goes into one message, which has them in one
	// attribute.
	chunkSize = attributeMax * 3 / 4
	// elementSize is about what an element takes, in bytes.
	elementSize = 160
)

// addElements adds elements that must not exist yet.
func (t *transaction) addElements(family ruleset.Family, table string, s ruleset.Set, elements []ruleset.Element) {
	t.elements(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE|unix.NLM_F_EXCL, family, table, s, elements)
}

// deleteElements deletes elements by their keys.
func (t *transaction) deleteElements(family ruleset.Family, table string, s ruleset.Set, elements []ruleset.Element) {
	t.elements(unix.NFT_MSG_DELSETELEM, 0, family, table, s, elements)
}

func (t *transaction) elements(kind, flags uint16, family ruleset.Family, table string, s ruleset.Set, elements []ruleset.Element) {
	about := subject{kind: kindElement, name: s.Name, family: family, table: table}
	layout := layoutOf(s)
	t.reserve(len(elements) * elementSize)
	for len(elements) > 0 {
		t.message(kind, flags, about)
		t.text(unix.NFTA_SET_ELEM_LIST_TABLE, table)
		t.text(unix.NFTA_SET_ELEM_LIST_SET, s.Name)
		list := t.begin(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for len(elements) > 0 && len(t.attributes)-list < chunkSize {
			if err := t.element(layout, elements[0], kind == unix.NFT_MSG_DELSETELEM); err != nil {
				t.fail(about, err)
			}
			elements = elements[1:]
		}
		t.end(list)
	}
}

// layout is how the elements of a set are written.
type layout struct {
	key, data          []field
	interval, verdicts bool
}

func layoutOf(s ruleset.Set) layout {
	return layout{key: fieldsFor(s.Key), data: fieldsFor(s.Data), interval: s.Interval, verdicts: s.Verdicts}
}

// element appends an element. An interval of one field is two of the kernel's: the
// begin, and what is behind the end. Of a concatenation it is one, with two keys.
func (a *attributes) element(l layout, e ruleset.Element, keyOnly bool) error {
	if len(e.Key) != len(l.key) || len(e.Data) != len(l.data) || (e.Verdict != nil) != l.verdicts {
		return fmt.Errorf("the element %v does not fit the set", e)
	}
	concatenated := l.interval && len(l.key) > 1
	element := a.begin(unix.NFTA_LIST_ELEM)
	fits := a.key(unix.NFTA_SET_ELEM_KEY, l.key, func(i int) ruleset.Value { return e.Key[i].Min })
	if concatenated {
		fits = a.key(nftables.NFTA_SET_ELEM_KEY_END, l.key, func(i int) ruleset.Value { return last(e.Key[i]) }) && fits
	}
	if !keyOnly {
		fits = a.what(l, e) && fits
	}
	a.end(element)
	for _, r := range e.Key {
		fits = fits && (l.interval || r.Max == nil || string(r.Max) == string(r.Min))
	}
	if !fits {
		return fmt.Errorf("the element %v does not fit the set", e)
	}
	if l.interval && !concatenated {
		a.intervalEnd(l, last(e.Key[0]))
	}
	return nil
}

func last(r ruleset.Range) ruleset.Value {
	if r.Max == nil {
		return r.Min
	}
	return r.Max
}

// what appends all of an element but its key.
func (a *attributes) what(l layout, e ruleset.Element) (fits bool) {
	fits = true
	switch {
	case e.Verdict != nil:
		data := a.begin(unix.NFTA_SET_ELEM_DATA)
		verdict := a.begin(unix.NFTA_DATA_VERDICT)
		a.number(unix.NFTA_VERDICT_CODE, uint32(int32(verdicts[e.Verdict.Kind])))
		if e.Verdict.Chain != "" {
			a.text(unix.NFTA_VERDICT_CHAIN, e.Verdict.Chain)
		}
		a.end(verdict)
		a.end(data)
	case len(l.data) > 0:
		fits = a.key(unix.NFTA_SET_ELEM_DATA, l.data, func(i int) ruleset.Value { return e.Data[i] })
	}
	if e.Comment != "" {
		a.comment(unix.NFTA_SET_ELEM_USERDATA, e.Comment)
	}
	return fits
}

// intervalEnd appends the element that ends an interval, which goes up to and
// including a value.
func (a *attributes) intervalEnd(l layout, value ruleset.Value) {
	behind := append(ruleset.Value(nil), value...)
	for i := len(behind) - 1; ; i-- {
		if i < 0 {
			return // the last of all values
		}
		behind[i]++
		if behind[i] != 0 {
			break
		}
	}
	element := a.begin(unix.NFTA_LIST_ELEM)
	a.number(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	a.key(unix.NFTA_SET_ELEM_KEY, l.key, func(int) ruleset.Value { return behind })
	a.end(element)
}

// key appends values side by side as the kernel has them in registers, which have
// four bytes.
func (a *attributes) key(kind uint16, fields []field, value func(int) ruleset.Value) (fits bool) {
	fits = true
	key := a.begin(kind)
	data := a.start(unix.NFTA_DATA_VALUE)
	for i, f := range fields {
		fits = a.register(f, value(i)) && fits
		if len(fields) > 1 {
			a.pad()
		}
	}
	a.end(data)
	a.end(key)
	return fits
}

// register appends a value of a field.
func (a *attributes) register(f field, v ruleset.Value) (fits bool) {
	switch {
	case f.kind == &nftables.TypeIFName && len(v) < f.size:
		*a = append(*a, v...)
		*a = append(*a, make([]byte, f.size-len(v))...)
	case len(v) != f.size:
		return false
	case f.host:
		*a = binary.NativeEndian.AppendUint32(*a, binary.BigEndian.Uint32(v))
	default:
		*a = append(*a, v...)
	}
	return true
}

// verdicts are the kernel's codes of verdicts.
var verdicts = map[ruleset.VerdictKind]expr.VerdictKind{
	ruleset.Accept: expr.VerdictAccept, ruleset.Drop: expr.VerdictDrop, ruleset.Return: expr.VerdictReturn,
	ruleset.Jump: expr.VerdictJump, ruleset.Goto: expr.VerdictGoto,
}
