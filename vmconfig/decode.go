package vmconfig

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// decoder fills Go values from nodes and keeps going after a mistake.
type decoder struct {
	faults
	visits, depth int
}

// maxFaults is where a file has so many mistakes that more would help nobody.
const maxFaults = 100

// spent counts one more value or key, and reports whether to give up.
func (d *decoder) spent() bool {
	if d.visits++; d.visits == maxNodes+1 {
		d.add("", "has more than %d values, once aliases are expanded", maxNodes)
	}
	return d.visits > maxNodes || len(d.details) >= maxFaults
}

// value decodes n into v, a zero value. Null leaves it so.
func (d *decoder) value(n *node, v reflect.Value, field string) {
	if d.spent() {
		return
	}
	if d.depth++; d.depth > maxDepth {
		d.at(n.line, field, "%v", errDepth)
	} else {
		d.typed(n, v, field)
	}
	d.depth--
}

func (d *decoder) typed(n *node, v reflect.Value, field string) {
	if n.kind == null {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if v.Type() == reflect.TypeFor[CPUConfig]() && n.kind == text && n.text != "" {
		v.FieldByName("Path").SetString(n.text)
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
		if d.want(n, text, field) {
			v.SetString(n.text)
		}
	case reflect.Bool:
		if d.want(n, boolean, field) {
			v.SetBool(n.text == "true")
		}
	default:
		d.integer(n, v, field)
	}
}

func (d *decoder) want(n *node, k kind, field string) bool {
	if n.kind == k {
		return true
	}
	hint := ""
	if k == text && (n.kind == number || n.kind == boolean || n.kind == oddball) {
		hint = ": put it in quotes"
	}
	d.at(n.line, field, "want %s, found %v%s", k, n, hint)
	return false
}

func (d *decoder) integer(n *node, v reflect.Value, field string) {
	if !d.want(n, number, field) {
		return
	}
	if strings.ContainsAny(n.text, ".eE") {
		d.at(n.line, field, "want a whole number, found %s", n.text)
		return
	}
	var err error
	if v.CanUint() {
		var u uint64
		if u, err = strconv.ParseUint(n.text, 10, v.Type().Bits()); err == nil {
			v.SetUint(u)
		}
	} else {
		var i int64
		if i, err = strconv.ParseInt(n.text, 10, v.Type().Bits()); err == nil {
			v.SetInt(i)
		}
	}
	if err != nil {
		d.at(n.line, field, "%s is out of range", n.text)
	}
}

func (d *decoder) object(n *node, v reflect.Value, field string) {
	if !d.want(n, object, field) {
		return
	}
	known := fieldsOf(v.Type())
	seen := map[string]bool{}
	for _, m := range n.members {
		index, ok := known.index[m.key]
		switch {
		case d.spent():
			return
		case !ok:
			d.at(m.line, keyField(field, m.key), "unknown key%s", didYouMean(m.key, known.names))
		case d.again(seen, m, field):
		default:
			d.value(m.value, v.FieldByIndex(index), join(field, m.key))
		}
	}
}

// again reports a key that is there for the second time.
func (d *decoder) again(seen map[string]bool, m member, field string) bool {
	if seen[m.key] {
		d.at(m.line, keyField(field, m.key), "is set twice")
		return true
	}
	seen[m.key] = true
	return false
}

// dictionary decodes an object with keys that are the user's.
func (d *decoder) dictionary(n *node, v reflect.Value, field string) {
	if !d.want(n, object, field) {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	seen := map[string]bool{}
	for _, m := range n.members {
		if d.again(seen, m, field) {
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.element(m.value, value, keyField(field, m.key))
		v.SetMapIndex(reflect.ValueOf(m.key), value)
	}
}

// list makes an empty list nil, as if it were left out.
func (d *decoder) list(n *node, v reflect.Value, field string) {
	if !d.want(n, list, field) || len(n.items) == 0 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		d.element(item, v.Index(i), fmt.Sprintf("%s[%d]", field, i))
	}
}

// element decodes what can't be left out: null is a mistake where it isn't data.
func (d *decoder) element(n *node, v reflect.Value, field string) {
	if n.kind == null && v.Kind() != reflect.Interface {
		d.at(n.line, field, "can't be null")
		return
	}
	d.value(n, v, field)
}

// anything decodes metadata.
func (d *decoder) anything(n *node, v reflect.Value, field string) {
	switch n.kind {
	case boolean:
		v.Set(reflect.ValueOf(n.text == "true"))
	case number:
		v.Set(reflect.ValueOf(json.Number(n.text)))
	case text:
		v.Set(reflect.ValueOf(n.text))
	case list:
		items := reflect.ValueOf(make([]any, len(n.items)))
		for i, item := range n.items {
			d.element(item, items.Index(i), fmt.Sprintf("%s[%d]", field, i))
		}
		v.Set(items)
	case object:
		members := reflect.New(reflect.TypeFor[map[string]any]()).Elem()
		d.dictionary(n, members, field)
		v.Set(members)
	default:
		d.at(n.line, field, "want %s or text in quotes, found %v", number, n)
	}
}

// fields are the keys of a struct, those of embedded structs among them.
type fields struct {
	names []string // in the order of declaration, for suggestions
	index map[string][]int
}

func fieldsOf(t reflect.Type) fields {
	out := fields{index: map[string][]int{}}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" || name == "-" {
			continue
		}
		out.names = append(out.names, name)
		out.index[name] = f.Index
	}
	return out
}
