package vmconfig

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/internal/strict"
)

// MarshalJSON returns the config as a VM file. It always has drives, which
// Firecracker's own file demands.
func (c Config) MarshalJSON() ([]byte, error) {
	type plainConfig Config // without this method
	if c.Drives == nil {
		c.Drives = []Drive{}
	}
	return marshal(plainConfig(c))
}

// UnmarshalJSON is as strict as [Parse].
func (c *Config) UnmarshalJSON(data []byte) error {
	parsed, err := Parse(data)
	if err != nil {
		return err
	}
	*c = *parsed
	return nil
}

// MarshalYAML returns the config as a VM file, for [Parse] to read.
func (c Config) MarshalYAML() ([]byte, error) {
	data, err := c.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var f faults
	root := strict.ReadJSON(&f.Faults, data)
	if root == nil {
		return nil, f.err("write vm config")
	}
	var b bytes.Buffer
	writeYAML(&b, root, 0)
	return b.Bytes(), nil
}

// MarshalJSON returns the path, when there is one, or the template.
func (c CPUConfig) MarshalJSON() ([]byte, error) {
	if c.Path != "" {
		return marshal(c.Path)
	}
	return marshal(c.CPUConfig)
}

// UnmarshalJSON takes a path or a template, with errors as of [Parse].
func (c *CPUConfig) UnmarshalJSON(data []byte) error {
	var f faults
	var out CPUConfig
	if root := strict.ReadJSON(&f.Faults, data); root != nil {
		strict.Decode(&f.Faults, root, &out, "cpu-config")
	}
	if err := f.err(opParse); err != nil {
		return err
	}
	*c = out
	return nil
}

// marshal leaves <, > and & alone: kernel arguments have them.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// writeYAML writes the members or items of n as a block. All text that some
// reader of YAML could take for something else is written as JSON, which YAML
// includes.
func writeYAML(b *bytes.Buffer, n *strict.Node, indent int) {
	space := strings.Repeat(" ", indent)
	for _, m := range n.Members {
		b.WriteString(space + yamlText(m.Key) + ":")
		writeNested(b, m.Value, indent)
	}
	for _, item := range n.Items {
		if item.Kind == strict.Object && len(item.Members) > 0 { // its first key follows the dash
			var block bytes.Buffer
			writeYAML(&block, item, indent+2)
			b.WriteString(space + "- ")
			b.Write(block.Bytes()[indent+2:])
			continue
		}
		b.WriteString(space + "-")
		writeNested(b, item, indent)
	}
}

// writeNested writes a scalar on the line that is begun, and a block below it.
func writeNested(b *bytes.Buffer, n *strict.Node, indent int) {
	switch {
	case len(n.Members)+len(n.Items) > 0:
		b.WriteByte('\n')
		writeYAML(b, n, indent+2)
		return
	case n.Kind == strict.Object:
		b.WriteString(" {}")
	case n.Kind == strict.List:
		b.WriteString(" []")
	case n.Kind == strict.Null:
		b.WriteString(" null")
	case n.Kind == strict.Text:
		b.WriteString(" " + yamlText(n.Text))
	default:
		b.WriteString(" " + n.Text)
	}
	b.WriteByte('\n')
}

// plainText needs no quotes, unless it is a word of yamlWords.
var plainText = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/_.-]*$`)

// yamlWords are more than text to YAML 1.1 or 1.2.
var yamlWords = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

func yamlText(s string) string {
	if plainText.MatchString(s) && !slices.Contains(yamlWords, strings.ToLower(s)) {
		return s
	}
	quoted, err := marshal(s)
	if err != nil {
		return "" // encoding/json writes any string
	}
	return string(quoted)
}
