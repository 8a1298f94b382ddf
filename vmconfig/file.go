package vmconfig

import (
	"bytes"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// Limits of a VM file.
const (
	maxFile  = 1 << 20 // bytes
	maxDepth = 64      // lists and objects inside each other
	maxNodes = 100_000 // values and keys, once aliases are expanded
)

const opParse = "parse vm config"

// Parse reads a VM file. Text that begins with '{' is JSON, all else is YAML,
// of which anchors and merges work, but no tags, and with text such as Off and
// no taken as text.
//
// The error is INVALID_CONFIG, and its Details have every mistake with field
// and line: unknown keys at any level, keys that are set twice, values of the
// wrong type. Null is the same as leaving a key out, so that the answer of
// Firecracker's GET /vm/config is a VM file. What the values mean is checked by
// [Config.Validate].
func Parse(data []byte) (*Config, error) {
	out := new(Config)
	if err := decode(data, reflect.ValueOf(out).Elem(), ""); err != nil {
		return nil, err
	}
	return out, nil
}

// Resolve puts the template, the content of the JSON file at Path, in the
// place of Path. The error is INVALID_CONFIG, with Details as of [Parse].
func (c *CPUConfig) Resolve(data []byte) error {
	var out CPUConfig
	if err := decode(data, reflect.ValueOf(&out.CPUConfig).Elem(), "cpu-config"); err != nil {
		return err
	}
	*c = out
	return nil
}

// decode fills the zero value v, which field is the name of.
func decode(data []byte, v reflect.Value, field string) error {
	d := decoder{}
	root := d.read(data)
	if root != nil {
		d.value(root, v, field)
	}
	return d.err(opParse)
}

func (d *decoder) read(data []byte) *node {
	switch start := bytes.TrimLeft(data, " \t\r\n"); {
	case len(data) > maxFile:
		d.add("", "has %d bytes, at most %d are allowed", len(data), maxFile)
	case !utf8.Valid(data):
		d.add("", "is not valid UTF-8")
	case len(start) == 0:
		d.add("", "is empty")
	case start[0] == '{':
		return readJSON(&d.faults, data)
	default:
		return readYAML(&d.faults, data)
	}
	return nil
}

// node is a value of a file, whichever format it has.
type node struct {
	kind    kind
	line    int
	text    string // of a string, number or bool
	members []member
	items   []*node
}

type member struct {
	key   string
	line  int
	value *node
}

type kind string

// The kinds of JSON, in words for errors.
const (
	null    kind = "null"
	boolean kind = "true or false"
	number  kind = "a number"
	oddball kind = "a number of YAML only" // 0x10, 1_000, .inf: readers differ about them
	text    kind = "text"
	list    kind = "a list"
	object  kind = "an object"
)

// String describes the value in an error.
func (n *node) String() string {
	switch n.kind {
	case boolean:
		return n.text
	case number:
		return "the number " + n.text
	case oddball:
		return n.text + ", which is not a plain decimal number"
	case text:
		return "the text " + quote(n.text)
	default:
		return string(n.kind)
	}
}

func (n *node) has(key string) bool {
	for i := range n.members {
		if n.members[i].key == key {
			return true
		}
	}
	return false
}

// at adds a mistake with its line.
func (f *faults) at(line int, field, format string, args ...any) {
	f.add(field, "%s (line %d)", fmt.Sprintf(format, args...), line)
}

// join joins two parts of a field path, either of which may be empty.
func join(path, key string) string {
	if path == "" || key == "" {
		return path + key
	}
	return path + "." + key
}

// keyField is a key as a part of a field path: quoted unless it is plain and short.
func keyField(path, key string) string {
	if len(key) > shownText || !plainText.MatchString(key) {
		key = quote(key)
	}
	return join(path, key)
}
