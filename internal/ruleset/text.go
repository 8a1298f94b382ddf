package ruleset

import (
	"fmt"
	"strconv"
	"strings"
)

// String returns the table as nft -f reads it.
func (t Table) String() string {
	blocks := make([]string, 0, len(t.Sets)+len(t.Chains))
	for _, s := range t.Sets {
		blocks = append(blocks, indent(s.String()))
	}
	for _, c := range t.Chains {
		blocks = append(blocks, indent(c.String()))
	}
	comment := ""
	if t.Comment != "" {
		comment = "\tcomment " + quote(t.Comment) + "\n"
	}
	return fmt.Sprintf("table %s %s {\n%s%s}\n", t.Family, t.Name, comment, strings.Join(blocks, "\n"))
}

// String returns the set or map as it stands in a table.
func (s Set) String() string {
	var b strings.Builder
	kind, declared := "set", typesOf(s.Key)
	switch {
	case s.Verdicts:
		kind, declared = "map", declared+" : verdict"
	case len(s.Data) > 0:
		kind, declared = "map", declared+" : "+typesOf(s.Data)
	}
	fmt.Fprintf(&b, "%s %s {\n\ttype %s\n", kind, s.Name, declared)
	if s.Interval {
		b.WriteString("\tflags interval\n")
	}
	if s.Counter {
		b.WriteString("\tcounter\n")
	}
	if s.Comment != "" {
		b.WriteString("\tcomment " + quote(s.Comment) + "\n")
	}
	if len(s.Elements) > 0 {
		b.WriteString("\telements = {\n")
		for _, e := range s.Elements {
			b.WriteString("\t\t" + e.text(s) + ",\n")
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// text returns the element as it stands in s, whose fields say what its bytes mean.
func (e Element) text(s Set) string {
	text := join(e.Key, func(i int, r Range) string { return s.Key[i].values(r) })
	if e.Comment != "" {
		text += " comment " + quote(e.Comment)
	}
	if e.Verdict != nil {
		return text + " : " + e.Verdict.String()
	}
	if len(e.Data) > 0 {
		return text + " : " + join(e.Data, func(i int, v Value) string { return s.Data[i].value(v) })
	}
	return text
}

// String returns the chain as it stands in a table.
func (c Chain) String() string {
	var b strings.Builder
	b.WriteString("chain " + c.Name + " {")
	if c.Comment != "" {
		b.WriteString(" # " + c.Comment)
	}
	b.WriteString("\n")
	if c.Hook != nil {
		b.WriteString("\t" + c.Hook.String() + "\n")
	}
	for _, r := range c.Rules {
		b.WriteString(indent(r.String() + "\n"))
	}
	b.WriteString("}\n")
	return b.String()
}

// String returns the declaration of a base chain.
func (h Hook) String() string {
	device, policy := "", "accept"
	if h.Device != "" {
		device = " device " + quote(h.Device)
	}
	if h.Drop {
		policy = "drop"
	}
	return "type " + h.Type + " hook " + h.Point + device + " priority " + strconv.Itoa(h.Priority) + "; policy " + policy + ";"
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("\t" + line)
	}
	return b.String()
}
