package vmconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// readJSON returns nil, with the mistake in f, when data is not one JSON value.
func readJSON(f *faults, data []byte) *node {
	lines := lineCounter{data: data, line: 1}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		syntax, ok := errors.AsType[*json.SyntaxError](err)
		if !ok {
			f.add("", "is not JSON: %v", err)
			return nil
		}
		f.at(lines.at(syntax.Offset), "", "is not JSON: %v", err)
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	r := jsonReader{faults: f, decoder: d, lines: lines}
	n, err := r.value(0)
	if err != nil {
		f.add("", "is not JSON: %v", err)
		return nil
	}
	return n
}

type jsonReader struct {
	*faults
	decoder *json.Decoder
	lines   lineCounter
}

var errDepth = errors.New("lists and objects are nested too deep")

func (r *jsonReader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	token, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	n := &node{line: r.line()}
	switch t := token.(type) {
	case nil:
		n.kind = null
	case bool:
		n.kind, n.text = boolean, "false"
		if t {
			n.text = "true"
		}
	case json.Number:
		n.kind, n.text = number, t.String()
	case string:
		n.kind, n.text = text, t
	case json.Delim:
		if t == '[' {
			return n, r.list(n, depth)
		}
		return n, r.object(n, depth)
	}
	return n, nil
}

func (r *jsonReader) list(n *node, depth int) error {
	n.kind = list
	for r.decoder.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	return r.end()
}

func (r *jsonReader) object(n *node, depth int) error {
	n.kind = object
	for r.decoder.More() {
		token, err := r.decoder.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return io.ErrUnexpectedEOF
		}
		m := member{key: key, line: r.line()}
		if m.value, err = r.value(depth + 1); err != nil {
			return err
		}
		n.members = append(n.members, m)
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
