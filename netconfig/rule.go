package netconfig

import (
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// anywhere is the destination of a rule's text that is everything.
const anywhere = "any"

// ParseRule reads a rule from one word, as the command's --allow and --deny take it.
// Its action is left to the caller. The grammar is
//
//	rule  = dest [ ":" ports ] [ "/" proto ]
//	dest  = "any" | "*" | ADDRESS | ADDRESS "/" BITS
//	ports = range { "," range }
//	range = PORT | PORT "-" PORT
//	proto = "tcp" | "udp" | "icmp" | "all"
//
// where digits after a slash are BITS. Ports without a protocol are those of tcp. So
// there are 1.1.1.1:53/udp, 10.0.0.0/8, 10.0.0.0/8:80,443, any:8000-8100 and *:53/udp,
// any/icmp. The error is INVALID_FIREWALL_CONFIG.
func ParseRule(text string) (Rule, error) {
	var f strict.Faults
	var r Rule
	rest, proto, hasProto := cutProtocol(text)
	dest, ports, hasPorts := strings.Cut(rest, ":")
	if strings.Contains(ports, ":") {
		f.Add("to", "%s has more than one colon: want an IPv4 destination such as 10.0.0.0/8:443", strict.Quote(text))
		return Rule{}, f.Err(errcode.InvalidFirewallConfig, opParseRule)
	}
	switch dest {
	case anywhere, "*":
	case "":
		f.Add("to", "has no destination: %q is everything", anywhere)
	default:
		if err := r.To.UnmarshalText([]byte(dest)); err != nil {
			f.Add("to", "%v", err)
		}
	}
	if err := r.Protocol.UnmarshalText([]byte(proto)); err != nil {
		f.Add("protocol", "%v", err)
	} else if hasProto && proto == "" {
		f.Add("protocol", "is missing after the slash")
	}
	if hasPorts {
		parsePorts(&f, &r, ports)
	}
	if len(f.Details) == 0 {
		r.Action = Allow // any, to be able to check the rest
		checkRule(&f, "", &r)
		r.Action = ""
	}
	if err := f.Err(errcode.InvalidFirewallConfig, opParseRule); err != nil {
		return Rule{}, err
	}
	return r, nil
}

const opParseRule = "parse egress rule"

// cutProtocol cuts what follows the last slash, unless that is a prefix length, maybe
// with ports.
func cutProtocol(text string) (rest, proto string, found bool) {
	i := strings.LastIndexByte(text, '/')
	if i < 0 || i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '9' {
		return text, "", false
	}
	return text[:i], text[i+1:], true
}

func parsePorts(f *strict.Faults, r *Rule, text string) {
	if r.Protocol == "" {
		r.Protocol = TCP
	}
	for word := range strings.SplitSeq(text, ",") {
		var p PortRange
		if err := p.UnmarshalText([]byte(word)); err != nil {
			f.Add("ports", "%v", err)
		}
		if r.Ports = append(r.Ports, p); len(r.Ports) > MaxPorts {
			return // checkRule says so
		}
	}
}

// String returns the action, if there is one, and what [ParseRule] reads, without
// comment and log: "allow 1.1.1.1:53/udp".
func (r Rule) String() string {
	var b strings.Builder
	if r.Action != "" {
		b.WriteString(string(r.Action) + " ")
	}
	if r.To == (Destination{}) {
		b.WriteString(anywhere)
	}
	b.WriteString(r.To.String())
	for i, p := range r.Ports {
		b.WriteByte(":,"[min(i, 1)])
		b.WriteString(p.String())
	}
	if r.Protocol != "" && r.Protocol != All {
		b.WriteString("/" + string(r.Protocol))
	}
	return b.String()
}
