package firecracker

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/smartvm/smartvm/errcode"
)

// oldest is the first release that this package knows: what it has, all have.
var oldest = Version{1, 0, 0}

// Check returns an UNSUPPORTED_VERSION error when Firecracker v lacks the
// endpoint, or a field or value of the body; its Details have every one of
// them. Only fields that would be sent count. An unknown (zero) version and a
// call that this package does not know are not checked.
func (r Request) Check(v Version) error {
	if v.IsZero() {
		return nil
	}
	var found []errcode.Detail
	if f, _ := r.facts(); !f.since.has(v) {
		found = []errcode.Detail{{Message: "needs " + f.since.String()}}
		if r.Hotplug {
			found[0].Message = "adding a device after the boot needs " + f.since.String()
		}
	} else if r.Body != nil {
		value := reflect.ValueOf(r.Body)
		found = gatesOf(value.Type()).check(value, v, "", nil)
	}
	if len(found) == 0 {
		return nil
	}
	return &errcode.Error{
		Code: errcode.UnsupportedVersion, Op: opCall, Subject: r.String(), Details: found,
		Hint: "this is Firecracker " + v.String(),
	}
}

// gates are the tags of one type and of what it holds; nil when there are none.
// A tag `since` says which release brought a field, `optional` since when it
// may be left out, `values` which release brought a value.
type gates []gate

type gate struct {
	index           int
	name            string
	since, optional releases
	values          []valueGate
	inside          gates
}

type valueGate struct {
	value string
	since releases
}

// gateCache is a memo of a pure function of the type: reflecting on tags costs
// more than the check, which is part of every start.
var gateCache sync.Map // reflect.Type -> gates

func gatesOf(t reflect.Type) gates {
	if cached, ok := gateCache.Load(t); ok {
		return cached.(gates) //nolint:errcheck,forcetypeassert // nothing else is stored
	}
	g := newGates(t)
	gateCache.Store(t, g)
	return g
}

func newGates(t reflect.Type) gates {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var out gates
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		g := gate{
			index: i, name: name,
			since:    parseReleases(f.Tag.Get("since")),
			optional: parseReleases(f.Tag.Get("optional")),
			inside:   newGates(f.Type),
		}
		for pair := range strings.FieldsSeq(f.Tag.Get("values")) {
			value, since, _ := strings.Cut(pair, "=")
			g.values = append(g.values, valueGate{value, parseReleases(since)})
		}
		if g.since != nil || g.optional != nil || g.values != nil || g.inside != nil {
			out = append(out, g)
		}
	}
	return out
}

// check appends what v lacks of value, which is at path, to found.
func (gs gates) check(value reflect.Value, v Version, path string, found []errcode.Detail) []errcode.Detail {
	if len(gs) == 0 {
		return found
	}
	switch value.Kind() { //nolint:exhaustive // newGates passes through these kinds only
	case reflect.Pointer:
		return gs.check(value.Elem(), v, path, found)
	case reflect.Slice:
		for i := range value.Len() {
			found = gs.check(value.Index(i), v, fmt.Sprintf("%s[%d]", path, i), found)
		}
		return found
	}
	for i := range gs {
		g := &gs[i]
		field := value.Field(g.index)
		switch {
		case unset(field):
			if !g.optional.has(v) {
				found = append(found, errcode.Detail{Field: join(path, g.name), Message: "leaving it out needs " + g.optional.String()})
			}
		case !g.since.has(v):
			found = append(found, errcode.Detail{Field: join(path, g.name), Message: "needs " + g.since.String()})
		default:
			found = g.checkValue(field, v, path, found)
			if g.inside != nil {
				found = g.inside.check(field, v, join(path, g.name), found)
			}
		}
	}
	return found
}

func (g *gate) checkValue(field reflect.Value, v Version, path string, found []errcode.Detail) []errcode.Detail {
	if g.values == nil {
		return found
	}
	text := reflect.Indirect(field).String()
	for _, vg := range g.values {
		if strings.EqualFold(vg.value, text) && !vg.since.has(v) {
			return append(found, errcode.Detail{Field: join(path, g.name), Message: text + " needs " + vg.since.String()})
		}
	}
	return found
}

// unset reports whether omitempty leaves the field out.
func unset(v reflect.Value) bool {
	if k := v.Kind(); k == reflect.Slice || k == reflect.Map {
		return v.Len() == 0
	}
	return v.IsZero()
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
