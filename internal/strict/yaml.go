package strict

import (
	"errors"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxTokens bounds the parser's time, which grows with the square of the keys
// of an object: 7500 keys take it half a second.
const maxTokens = 15_000

// ReadYAML returns nil, with the mistake in f, when data is not one YAML document.
// Anchors and merges work, but no tags, and text such as Off and no is taken as text.
func ReadYAML(f *Faults, data []byte) *Node {
	tokens := lexer.Tokenize(string(data))
	if len(tokens) > maxTokens {
		f.Add("", "has more than %d keys, values and signs: write a file of that size as JSON", maxTokens)
		return nil
	}
	if line := tooDeep(tokens); line > 0 {
		f.At(line, "", "%v", ErrDepth)
		return nil
	}
	// Keys that are set twice are reported by the decoder, all of them.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		y, ok := errors.AsType[yaml.Error](err)
		if !ok || y.GetToken() == nil {
			f.Add("", "is not YAML: %v", err)
			return nil
		}
		f.At(y.GetToken().Position.Line, "", "is not YAML: %s", y.GetMessage())
		return nil
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		f.Add("", "has %d YAML documents, want one that is not empty", len(file.Docs))
		return nil
	}
	r := yamlReader{Faults: f, anchors: map[string]*Node{}}
	n := r.value(file.Docs[0].Body, 0)
	if len(f.Details) > 0 {
		return nil
	}
	return n
}

// tooDeep returns the line at which flow collections, or markers of one line,
// nest too deep: the parser's time grows with the square of that. Block
// collections can't get that deep, since their indentation fills the file.
func tooDeep(tokens token.Tokens) int {
	flow, markers, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, markers = t.Position.Line, 0
		}
		switch t.Type { //nolint:exhaustive // the rest does not nest
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			markers++
		}
		if flow > MaxDepth || markers > MaxDepth {
			return line
		}
	}
	return 0
}

type yamlReader struct {
	*Faults
	anchors map[string]*Node // shared, not copied: the decoder counts what they expand to
}

func (r *yamlReader) value(in ast.Node, depth int) *Node {
	if in == nil || in.GetToken() == nil {
		return &Node{Kind: Null}
	}
	n := &Node{Kind: Null, Line: in.GetToken().Position.Line}
	if depth > MaxDepth {
		r.At(n.Line, "", "%v", ErrDepth)
		return n
	}
	switch v := in.(type) {
	case *ast.MappingNode:
		return r.object(n, v.Values, depth)
	case *ast.MappingValueNode:
		return r.object(n, []*ast.MappingValueNode{v}, depth)
	case *ast.SequenceNode:
		n.Kind = List
		for _, item := range v.Values {
			n.Items = append(n.Items, r.value(item, depth+1))
		}
	case *ast.AnchorNode:
		// Known only once it is complete, so that it can't hold itself.
		n = r.value(v.Value, depth+1)
		r.anchors[v.Name.GetToken().Value] = n
	case *ast.AliasNode:
		name := v.Value.GetToken().Value
		if known, ok := r.anchors[name]; ok {
			return known
		}
		r.At(n.Line, "", "there is no anchor %s before this alias", Quote(name))
	case *ast.TagNode:
		r.At(n.Line, "", "YAML tags such as %s are not supported", Quote(v.Start.Value))
	default:
		r.scalar(n, in)
	}
	return n
}

// jsonNumber is the syntax of the numbers that JSON has too.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func (r *yamlReader) scalar(n *Node, in ast.Node) {
	switch v := in.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		n.Kind, n.Text = Boolean, "false"
		if v.Value {
			n.Text = "true"
		}
	case *ast.StringNode:
		n.Kind, n.Text = Text, v.Value
		// The parser takes 1e3 for text, which YAML and JSON call a number.
		if v.Token.Type == token.StringType && jsonNumber.MatchString(v.Value) {
			n.Kind = Number
		}
	case *ast.LiteralNode:
		n.Kind, n.Text = Text, v.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.Kind, n.Text = Number, strings.TrimSpace(in.GetToken().Value)
		if !jsonNumber.MatchString(n.Text) {
			n.Kind = Oddball
		}
	default:
		r.At(n.Line, "", "YAML of this kind is not supported: %s", in.Type())
	}
}

func (r *yamlReader) object(n *Node, values []*ast.MappingValueNode, depth int) *Node {
	n.Kind = Object
	var merged []Member
	for _, v := range values {
		value := r.value(v.Value, depth+1)
		switch key := v.Key.(type) {
		case *ast.MergeKeyNode:
			merged = append(merged, r.merge(value)...)
		case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
			t := key.GetToken()
			n.Members = append(n.Members, Member{Key: t.Value, Line: t.Position.Line, Value: value})
		default:
			r.At(n.Line, "", "a key must be plain text")
		}
	}
	for _, m := range merged { // what is set here, or was merged before, wins
		if !n.Has(m.Key) {
			n.Members = append(n.Members, m)
		}
	}
	return n
}

// merge returns the members of what follows "<<:", an object or a list of them.
func (r *yamlReader) merge(value *Node) []Member {
	if value.Kind == Object {
		return value.Members
	}
	var out []Member
	for _, item := range value.Items {
		if item.Kind != Object {
			r.At(item.Line, "", "<< merges objects, found %v", item)
		}
		out = append(out, item.Members...)
	}
	if value.Kind != List {
		r.At(value.Line, "", "<< merges objects, found %v", value)
	}
	return out
}
