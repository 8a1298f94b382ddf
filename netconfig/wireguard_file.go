package netconfig

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Limits of a WireGuard file, in bytes. The longest line of a real one has the
// AllowedIPs that leave some addresses out: some thousand.
const (
	maxTunnelFile = 256 << 10
	maxTunnelLine = 16 << 10
	maxFaults     = 100 // more would help nobody
)

const opParseWireGuard = "parse wireguard file"

// ParseWireGuard reads and validates a file of wg-quick: one [Interface], and a [Peer]
// or more. See wg-quick(8) and wg(8) for its keys; sections and keys are in any case,
// '#' begins a comment, and Address, AllowedIPs and DNS take lists and may be repeated.
//
// What can't be followed and does no harm is left out, with a warning: DNS, Table, and
// IPv6 addresses beside IPv4 ones. PreUp, PostUp, PreDown, PostDown and SaveConfig are
// refused: no command of a file is run, and no file is written.
//
// The error is INVALID_WIREGUARD_CONFIG, and its Details have the mistakes with their
// lines. Neither they nor the warnings ever show what a line has, since it may be a key
// in the wrong place.
func ParseWireGuard(text []byte) (*Tunnel, []string, error) {
	p := tunnelParser{lines: map[string]int{}}
	p.read(text)
	if len(p.Details) == 0 {
		p.validate()
	}
	if err := p.err(opParseWireGuard); err != nil {
		return nil, nil, err
	}
	p.warnShared()
	return &p.out, p.warnings, nil
}

type tunnelParser struct {
	faults
	out      Tunnel
	warnings []string

	section string          // "", interfaceSection or peerSection
	line    int             // the one that is read, from 1
	lines   map[string]int  // where the fields are; "peers[1]" is where the section begins
	seen    map[string]bool // keys of the section
}

// The sections, in lower case.
const (
	interfaceSection = "[interface]"
	peerSection      = "[peer]"
)

func (p *tunnelParser) read(text []byte) {
	if len(text) > maxTunnelFile {
		p.tunnel("", "has %d bytes, at most %d are allowed", len(text), maxTunnelFile)
		return
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // some editors begin with this mark
	for raw := range bytes.Lines(text) {
		p.line++
		if len(raw) > maxTunnelLine {
			p.mistake("", "has %d bytes, at most %d are allowed", len(raw), maxTunnelLine)
			continue
		}
		content, _, _ := strings.Cut(string(raw), "#")
		p.content(strings.TrimSpace(content))
		if len(p.Details) >= maxFaults || len(p.out.Peers) > MaxPeers { // validate says so
			return
		}
	}
}

// mistake adds one of the line that is read.
func (p *tunnelParser) mistake(field, format string, args ...any) {
	p.tunnel(field, "%s (line %d)", fmt.Sprintf(format, args...), p.line)
}

// warn adds a warning about the line that is read.
func (p *tunnelParser) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf("line %d: ", p.line)+fmt.Sprintf(format, args...))
}

// content reads a line without its comment.
func (p *tunnelParser) content(text string) {
	if text == "" {
		return
	}
	if text[0] == '[' {
		p.begin(strings.ToLower(text))
		return
	}
	name, value, ok := strings.Cut(text, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch {
	case !ok:
		p.mistake("", "want KEY = VALUE")
	case p.section == "":
		p.mistake("", "is before the first section")
	default:
		p.assign(name, value)
	}
}

func (p *tunnelParser) begin(section string) {
	switch section {
	case interfaceSection:
		if p.lines[section] > 0 {
			p.mistake("", "there is an [Interface] already")
		}
		p.lines[section] = p.line
	case peerSection:
		p.lines[fmt.Sprintf("peers[%d]", len(p.out.Peers))] = p.line
		p.out.Peers = append(p.out.Peers, Peer{})
	default:
		p.mistake("", "is neither [Interface] nor [Peer]")
	}
	p.section, p.seen = section, map[string]bool{}
}

// assign takes a key with its value.
func (p *tunnelParser) assign(name, value string) {
	known := func(k tunnelKey) bool { return strings.EqualFold(k.name, name) }
	i := slices.IndexFunc(tunnelKeys, func(k tunnelKey) bool { return known(k) && k.section == p.section })
	if i < 0 {
		p.unknown(name, slices.IndexFunc(tunnelKeys, known))
		return
	}
	k := &tunnelKeys[i]
	switch {
	case k.refused != "":
		p.mistake("", "%s is refused: %s", k.name, k.refused)
	case k.ignored != "":
		p.warn("%s is ignored: %s", k.name, k.ignored)
	case p.seen[k.name] && k.list == nil:
		p.mistake("", "%s is set twice", k.name)
	case value == "":
		p.mistake("", "%s has no value", k.name)
	case k.list != nil:
		for word := range strings.SplitSeq(value, ",") {
			p.prefix(k, strings.TrimSpace(word))
		}
	default:
		field := p.field(k.field)
		p.lines[field] = p.line
		if err := k.set(p, value); err != nil {
			p.mistake(field, "%v", err)
		}
	}
	p.seen[k.name] = true
}

// field is the path of a field of the section.
func (p *tunnelParser) field(name string) string {
	if p.section == peerSection {
		return fmt.Sprintf("peers[%d].%s", len(p.out.Peers)-1, name)
	}
	return name
}

// prefix reads an item of Address or AllowedIPs.
func (p *tunnelParser) prefix(k *tunnelKey, word string) {
	prefix, err := netip.ParsePrefix(word)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(word); err == nil && a.Zone() == "" {
			prefix = netip.PrefixFrom(a, a.BitLen())
		}
	}
	list := k.list(p)
	field := fmt.Sprintf("%s[%d]", p.field(k.field), len(*list))
	switch {
	case err != nil || !prefix.IsValid():
		p.mistake(field, "want an address or a prefix such as 10.0.0.2/32")
	case !prefix.Addr().Is4():
		p.warn("%s leaves out an IPv6 prefix: guests' traffic is IPv4", k.name)
	case p.section == peerSection: // as wg does
		prefix = prefix.Masked()
		fallthrough
	default:
		p.lines[field] = p.line
		*list = append(*list, prefix)
	}
}

// validate checks the whole, and adds the lines to what it finds.
func (p *tunnelParser) validate() {
	if p.lines[interfaceSection] == 0 {
		p.tunnel("", "there is no [Interface]")
		return
	}
	before := len(p.Details)
	p.below("", p.out.Validate())
	for i := range p.Details[before:] {
		d := &p.Details[before+i]
		if line := p.lineOf(d.Field); line > 0 {
			d.Message += fmt.Sprintf(" (line %d)", line)
		}
	}
}

// lineOf returns the line of a field, or of the section that lacks it; 0 if there is
// neither.
func (p *tunnelParser) lineOf(field string) int {
	if line := p.lines[field]; line > 0 {
		return line
	}
	if peer, _, ok := strings.Cut(field, "."); ok {
		return p.lines[peer]
	}
	if field == "peers" {
		return 0
	}
	return p.lines[interfaceSection]
}

// warnShared tells of prefixes that several peers have: the last one gets them.
func (p *tunnelParser) warnShared() {
	owner := map[netip.Prefix]int{}
	for i := range p.out.Peers {
		for _, prefix := range p.out.Peers[i].AllowedIPs {
			if first, taken := owner[prefix]; taken && first != i {
				p.warnings = append(p.warnings, fmt.Sprintf("%v is of peers[%d] and peers[%d], and WireGuard gives it to the last one only", prefix, first, i))
			}
			owner[prefix] = i
		}
	}
}
