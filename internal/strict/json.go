package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// ReadJSON returns nil, with the mistake in f, when data is not one JSON value.
// Numbers keep their digits.
func ReadJSON(f *Faults, data []byte) *Node {
	lines := lineCounter{data: data, line: 1}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		syntax, ok := errors.AsType[*json.SyntaxError](err)
		if !ok {
			f.Add("", "is not JSON: %v", err)
			return nil
		}
		f.At(lines.at(syntax.Offset), "", "is not JSON: %v", err)
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	r := jsonReader{Faults: f, decoder: d, lines: lines}
	n, err := r.value(0)
	if err != nil {
		f.Add("", "is not JSON: %v", err)
		return nil
	}
	return n
}

type jsonReader struct {
	*Faults
	decoder *json.Decoder
	lines   lineCounter
}

func (r *jsonReader) value(depth int) (*Node, error) {
	if depth > MaxDepth {
		return nil, ErrDepth
	}
	token, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	n := &Node{Line: r.line()}
	switch t := token.(type) {
	case nil:
		n.Kind = Null
	case bool:
		n.Kind, n.Text = Boolean, "false"
		if t {
			n.Text = "true"
		}
	case json.Number:
		n.Kind, n.Text = Number, t.String()
	case string:
		n.Kind, n.Text = Text, t
	case json.Delim:
		if t == '[' {
			return n, r.list(n, depth)
		}
		return n, r.object(n, depth)
	}
	return n, nil
}

func (r *jsonReader) list(n *Node, depth int) error {
	n.Kind = List
	for r.decoder.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.Items = append(n.Items, item)
	}
	return r.end()
}

func (r *jsonReader) object(n *Node, depth int) error {
	n.Kind = Object
	for r.decoder.More() {
		token, err := r.decoder.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return io.ErrUnexpectedEOF
		}
		m := Member{Key: key, Line: r.line()}
		if m.Value, err = r.value(depth + 1); err != nil {
			return err
		}
		n.Members = append(n.Members, m)
	}
	return r.end()
}

func (r *jsonReader) end() error {
	_, err := r.decoder.Token()
	return err
}

func (r *jsonReader) line() int { return r.lines.at(r.decoder.InputOffset()) }

// lineCounter turns growing offsets into lines, reading the text once.
type lineCounter struct {
	data   []byte
	offset int64
	line   int
}

func (l *lineCounter) at(offset int64) int {
	offset = min(offset, int64(len(l.data)))
	if offset > l.offset {
		l.line += bytes.Count(l.data[l.offset:offset], []byte{'\n'})
		l.offset = offset
	}
	return l.line
}
