package strict

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Decode fills the zero value that to points to, which field is the name of.
// Keys are those of the json tags, and all must be known. Null is the same as
// leaving a key out.
//
// A type that implements [encoding.TextUnmarshaler] is written as text, and as a
// number, too, if it implements [json.Unmarshaler] besides. As text may be written
// a struct in which a field has the tag strict:"text": that is where the text
// goes.
func Decode(f *Faults, n *Node, to any, field string) {
	d := decoder{Faults: f}
	d.value(n, reflect.ValueOf(to).Elem(), field)
}

// DecodeExact is [Decode] for formats that have a schema: null is a mistake, and
// so are 0, empty text and what has nothing in it for a key that may be left out
// (omitempty, omitzero). A field with the tag strict:"exact" is decoded so in any
// document.
func DecodeExact(f *Faults, n *Node, to any, field string) {
	d := decoder{Faults: f, exact: true}
	d.value(n, reflect.ValueOf(to).Elem(), field)
}

// DecodeFilled is [Decode] for documents in which a value that was forgotten must
// not pass for its default: null is a mistake, and an empty list is not nil. A field
// with the tag strict:"filled" is decoded so in any document.
func DecodeFilled(f *Faults, n *Node, to any, field string) {
	d := decoder{Faults: f, filled: true}
	d.value(n, reflect.ValueOf(to).Elem(), field)
}

// decoder fills Go values from nodes and keeps going after a mistake.
type decoder struct {
	*Faults
	exact, filled bool
	visits, depth int
}

// maxFaults is where a file has so many mistakes that more would help nobody.
const maxFaults = 100

// spent counts one more value or key, and reports whether to give up.
func (d *decoder) spent() bool {
	if d.visits++; d.visits == maxNodes+1 {
		d.Add("", "has more than %d values, once aliases are expanded", maxNodes)
	}
	return d.visits > maxNodes || len(d.Details) >= maxFaults
}

// value decodes n into v, a zero value. Null leaves it so.
func (d *decoder) value(n *Node, v reflect.Value, field string) {
	if d.spent() {
		return
	}
	if d.depth++; d.depth > MaxDepth {
		d.At(n.Line, field, "%v", ErrDepth)
	} else {
		d.typed(n, v, field)
	}
	d.depth--
}

func (d *decoder) typed(n *Node, v reflect.Value, field string) {
	if n.Kind == Null {
		if d.exact || d.filled {
			d.At(n.Line, field, "can't be null")
		}
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if t, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		d.text(n, t, field)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(n, v, field)
	case reflect.Map:
		d.dictionary(n, v, field)
	case reflect.Slice:
		d.list(n, v, field)
	case reflect.Interface:
		d.anything(n, v, field)
	case reflect.String:
		if d.want(n, Text, field) {
			v.SetString(n.Text)
		}
	case reflect.Bool:
		if d.want(n, Boolean, field) {
			v.SetBool(n.Text == "true")
		}
	case reflect.Float64:
		d.fraction(n, v, field)
	default:
		d.integer(n, v, field)
	}
}

// text decodes what has a type of its own.
func (d *decoder) text(n *Node, t encoding.TextUnmarshaler, field string) {
	read := t.UnmarshalText
	if j, ok := t.(json.Unmarshaler); ok && n.Kind == Number {
		read = j.UnmarshalJSON
	} else if !d.want(n, Text, field) {
		return
	}
	if err := read([]byte(n.Text)); err != nil {
		d.At(n.Line, field, "%v", err)
	}
}

func (d *decoder) want(n *Node, k Kind, field string) bool {
	if n.Kind == k {
		return true
	}
	hint := ""
	if k == Text && (n.Kind == Number || n.Kind == Boolean || n.Kind == Oddball) {
		hint = ": put it in quotes"
	}
	d.At(n.Line, field, "want %s, found %v%s", k, n, hint)
	return false
}

func (d *decoder) integer(n *Node, v reflect.Value, field string) {
	if !d.want(n, Number, field) {
		return
	}
	if strings.ContainsAny(n.Text, ".eE") {
		d.At(n.Line, field, "want a whole number, found %s", n.Text)
		return
	}
	var err error
	if v.CanUint() {
		var u uint64
		if u, err = strconv.ParseUint(n.Text, 10, v.Type().Bits()); err == nil {
			v.SetUint(u)
		}
	} else {
		var i int64
		if i, err = strconv.ParseInt(n.Text, 10, v.Type().Bits()); err == nil {
			v.SetInt(i)
		}
	}
	if err != nil {
		d.At(n.Line, field, "%s is out of range", n.Text)
	}
}

func (d *decoder) fraction(n *Node, v reflect.Value, field string) {
	if !d.want(n, Number, field) {
		return
	}
	number, err := strconv.ParseFloat(n.Text, 64)
	if err != nil {
		d.At(n.Line, field, "%s is out of range", n.Text)
		return
	}
	v.SetFloat(number + 0) // of -0 it makes 0
}

func (d *decoder) object(n *Node, v reflect.Value, field string) {
	known := fieldsOf(v.Type())
	if known.text != nil && n.Kind == Text && n.Text != "" {
		v.FieldByIndex(known.text).SetString(n.Text)
		return
	}
	if !d.want(n, Object, field) {
		return
	}
	seen := map[string]bool{}
	for _, m := range n.Members {
		index, ok := known.index[m.Key]
		switch {
		case d.spent():
			return
		case !ok:
			d.At(m.Line, keyField(field, m.Key), "unknown key%s", DidYouMean(m.Key, known.names))
		case d.again(seen, m, field):
		default:
			filled, exact := d.filled, d.exact
			d.filled, d.exact = filled || known.mode[m.Key] == "filled", exact || known.mode[m.Key] == "exact"
			d.member(m, v.FieldByIndex(index), Join(field, m.Key), known.optional[m.Key])
			d.filled, d.exact = filled, exact
		}
	}
}

func (d *decoder) member(m Member, v reflect.Value, field string, optional bool) {
	before := len(d.Details)
	d.value(m.Value, v, field)
	if d.exact && optional && v.IsZero() && len(d.Details) == before {
		what := m.Value.String()
		if m.Value.Kind == Object || m.Value.Kind == List {
			what = "empty"
		}
		d.At(m.Line, field, "can't be %s: leave it out", what)
	}
}

// again reports a key that is there for the second time.
func (d *decoder) again(seen map[string]bool, m Member, field string) bool {
	if seen[m.Key] {
		d.At(m.Line, keyField(field, m.Key), "is set twice")
		return true
	}
	seen[m.Key] = true
	return false
}

// dictionary decodes an object with keys that are the user's.
func (d *decoder) dictionary(n *Node, v reflect.Value, field string) {
	if !d.want(n, Object, field) {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	seen := map[string]bool{}
	for _, m := range n.Members {
		if d.again(seen, m, field) {
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.element(m.Value, value, keyField(field, m.Key))
		v.SetMapIndex(reflect.ValueOf(m.Key), value)
	}
}

// list makes an empty list nil, as if it were left out, unless that matters.
func (d *decoder) list(n *Node, v reflect.Value, field string) {
	if !d.want(n, List, field) || len(n.Items) == 0 && !d.filled {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items)))
	for i, item := range n.Items {
		d.element(item, v.Index(i), fmt.Sprintf("%s[%d]", field, i))
	}
}

// element decodes what can't be left out: null is a mistake where it isn't data.
func (d *decoder) element(n *Node, v reflect.Value, field string) {
	if n.Kind == Null && v.Kind() != reflect.Interface {
		d.At(n.Line, field, "can't be null")
		return
	}
	d.value(n, v, field)
}

// anything decodes metadata.
func (d *decoder) anything(n *Node, v reflect.Value, field string) {
	switch n.Kind {
	case Boolean:
		v.Set(reflect.ValueOf(n.Text == "true"))
	case Number:
		v.Set(reflect.ValueOf(json.Number(n.Text)))
	case Text:
		v.Set(reflect.ValueOf(n.Text))
	case List:
		items := reflect.ValueOf(make([]any, len(n.Items)))
		for i, item := range n.Items {
			d.element(item, items.Index(i), fmt.Sprintf("%s[%d]", field, i))
		}
		v.Set(items)
	case Object:
		members := reflect.New(reflect.TypeFor[map[string]any]()).Elem()
		d.dictionary(n, members, field)
		v.Set(members)
	default:
		d.At(n.Line, field, "want %s or text in quotes, found %v", Number, n)
	}
}

// fields are the keys of a struct, those of embedded structs among them.
type fields struct {
	names    []string // in the order of declaration, for suggestions
	index    map[string][]int
	optional map[string]bool   // with omitempty or omitzero
	mode     map[string]string // "filled" or "exact", see Decode...
	text     []int             // of the field that takes text in the place of an object
}

func fieldsOf(t reflect.Type) fields {
	out := fields{index: map[string][]int{}, optional: map[string]bool{}, mode: map[string]string{}}
	for _, f := range reflect.VisibleFields(t) {
		if f.Tag.Get("strict") == "text" {
			out.text = f.Index
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" || name == "-" {
			continue
		}
		out.names = append(out.names, name)
		out.index[name] = f.Index
		out.optional[name] = options == "omitempty" || options == "omitzero"
		out.mode[name] = f.Tag.Get("strict")
	}
	return out
}
