package ruleset

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// String returns the rule as nft reads it. A rule that logs and does something else
// is two of nft's, on a line each: above its limit only the first one ends.
func (r Rule) String() string {
	var matches, lines, rest []string
	for _, m := range r.Match {
		matches = append(matches, m.String())
	}
	for _, s := range r.Do {
		if _, limited := s.(Log); limited {
			lines = append(lines, strings.Join(append(slices.Clip(matches), s.String()), " "))
		} else {
			rest = append(rest, s.String())
		}
	}
	if len(rest) > 0 || len(lines) == 0 {
		lines = append(lines, strings.Join(append(matches, rest...), " "))
	}
	if r.Comment != "" {
		lines[len(lines)-1] += " comment " + quote(r.Comment)
	}
	return strings.Join(lines, "\n")
}

// String returns the condition as nft reads it.
func (m Match) String() string {
	fields := concatenation(m.Fields)
	operator := " "
	if m.Not {
		operator = " != "
	}
	if m.Set != "" {
		return fields + operator + "@" + m.Set
	}
	if len(m.Fields) != 1 {
		return fields // no condition that netlinux takes
	}
	field := m.Fields[0]
	if names := field.mask(m.Range.Min, ","); names != "" {
		if m.Not {
			return fmt.Sprintf("%s & (%s) == 0", field, field.mask(m.Range.Min, "|"))
		}
		return fields + " " + names
	}
	if m.PrefixLen > 0 {
		return fields + operator + field.value(m.Range.Min) + "/" + strconv.Itoa(m.PrefixLen)
	}
	return fields + operator + field.values(m.Range)
}

// String returns "drop", "jump egress" and the like.
func (v Verdict) String() string {
	if v.Chain == "" {
		return string(v.Kind)
	}
	return string(v.Kind) + " " + v.Chain
}

// String returns "counter".
func (Counter) String() string { return "counter" }

// String returns the logging statement behind its limit.
func (l Log) String() string {
	text := "log prefix " + quote(l.Prefix)
	if l.PerSecond > 0 {
		text = "limit rate " + strconv.Itoa(l.PerSecond) + "/second " + text
	}
	return text
}

// String returns the lookup of a verdict.
func (m VerdictMap) String() string { return concatenation(m.Key) + " vmap @" + m.Map }

// String returns "masquerade".
func (Masquerade) String() string { return "masquerade" }

// String returns the translation of the destination.
func (d DNAT) String() string { return "dnat ip to " + concatenation(d.Key) + " map @" + d.Map }

// String returns the setting of the mark.
func (m SetMark) String() string { return "meta mark set " + Mark.value(Number32(m.Mark)) }

// String returns the setting of the field.
func (w Write) String() string { return string(w.Field) + " set " + w.Field.value(w.Value) }

// String returns where the frame is sent.
func (f Forward) String() string { return "fwd to " + quote(f.Iface) }

// String returns the setting of the TCP option.
func (ClampMSS) String() string { return "tcp option maxseg size set rt mtu" }
