package strict

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// Limits of a document.
const (
	MaxSize  = 1 << 20 // bytes
	MaxDepth = 64      // lists and objects inside each other
	maxNodes = 100_000 // values and keys, once aliases are expanded
)

// ErrDepth is the mistake of a document that is nested deeper than [MaxDepth].
var ErrDepth = errors.New("lists and objects are nested too deep")

// Readable reports whether data can be a document at all: not too large, not
// empty, and UTF-8. If not, the mistake is in f.
func Readable(f *Faults, data []byte) bool {
	switch {
	case len(data) > MaxSize:
		f.Add("", "has %d bytes, at most %d are allowed", len(data), MaxSize)
	case !utf8.Valid(data):
		f.Add("", "is not valid UTF-8")
	case len(bytes.TrimLeft(data, " \t\r\n")) == 0:
		f.Add("", "is empty")
	default:
		return true
	}
	return false
}

// Read reads a document that people write: what begins with '{' is JSON, all else is
// YAML. It returns nil, with the mistake in f, when data is neither.
func Read(f *Faults, data []byte) *Node {
	switch {
	case !Readable(f, data):
		return nil
	case bytes.TrimLeft(data, " \t\r\n")[0] == '{':
		return ReadJSON(f, data)
	default:
		return ReadYAML(f, data)
	}
}

// Node is a value of a document, whichever format it has.
type Node struct {
	Kind    Kind
	Line    int
	Text    string // of a string, number or bool
	Members []Member
	Items   []*Node
}

// Member is a key of an object with its value.
type Member struct {
	Key   string
	Line  int
	Value *Node
}

// Kind is the kind of a value, in words for errors.
type Kind string

// The kinds of JSON, and one more.
const (
	Null    Kind = "null"
	Boolean Kind = "true or false"
	Number  Kind = "a number"
	Oddball Kind = "a number of YAML only" // 0x10, 1_000, .inf: readers differ about them
	Text    Kind = "text"
	List    Kind = "a list"
	Object  Kind = "an object"
)

// String describes the value in an error.
func (n *Node) String() string {
	switch n.Kind {
	case Boolean:
		return n.Text
	case Number:
		return "the number " + n.Text
	case Oddball:
		return n.Text + ", which is not a plain decimal number"
	case Text:
		return "the text " + Quote(n.Text)
	default:
		return string(n.Kind)
	}
}

// Has reports whether an object has a key.
func (n *Node) Has(key string) bool {
	for i := range n.Members {
		if n.Members[i].Key == key {
			return true
		}
	}
	return false
}
