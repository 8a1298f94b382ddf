package netconfig

import (
	"errors"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/smartvm/smartvm/internal/strict"
)

// tunnelKey is a key of a WireGuard file. It has one of list, set, ignored and refused.
type tunnelKey struct {
	section, name string
	field         string // of a Tunnel or a Peer
	list          func(p *tunnelParser) *[]netip.Prefix
	set           func(p *tunnelParser, value string) error
	ignored       string // why
	refused       string // why
}

const noCommands = "commands of a file are not run"

// tunnelKeys are the keys of wg(8) and wg-quick(8).
var tunnelKeys = []tunnelKey{
	{section: interfaceSection, name: "PrivateKey", field: "private_key", set: func(p *tunnelParser, value string) error {
		return p.out.PrivateKey.UnmarshalText([]byte(value))
	}},
	{section: interfaceSection, name: "Address", field: "addresses", list: func(p *tunnelParser) *[]netip.Prefix {
		return &p.out.Addresses
	}},
	{section: interfaceSection, name: "ListenPort", field: "listen_port", set: func(p *tunnelParser, value string) error {
		return decimal(&p.out.ListenPort, value)
	}},
	{section: interfaceSection, name: "FwMark", field: "mark", set: func(p *tunnelParser, value string) error {
		return firewallMark(&p.out.Mark, value)
	}},
	{section: interfaceSection, name: "MTU", field: "mtu", set: func(p *tunnelParser, value string) error {
		return decimal(&p.out.MTU, value)
	}},
	{section: interfaceSection, name: "DNS", ignored: "guests have the resolvers of their network"},
	{section: interfaceSection, name: "Table", ignored: "the network has a routing table of its own"},
	{section: interfaceSection, name: "PreUp", refused: noCommands},
	{section: interfaceSection, name: "PostUp", refused: noCommands},
	{section: interfaceSection, name: "PreDown", refused: noCommands},
	{section: interfaceSection, name: "PostDown", refused: noCommands},
	{section: interfaceSection, name: "SaveConfig", refused: "the file is never written"},

	{section: peerSection, name: "PublicKey", field: "public_key", set: func(p *tunnelParser, value string) error {
		return p.peer().PublicKey.UnmarshalText([]byte(value))
	}},
	{section: peerSection, name: "PresharedKey", field: "preshared_key", set: func(p *tunnelParser, value string) error {
		return p.peer().PresharedKey.UnmarshalText([]byte(value))
	}},
	{section: peerSection, name: "Endpoint", field: "endpoint", set: func(p *tunnelParser, value string) error {
		p.peer().Endpoint = value // checked by Tunnel.Validate
		return nil
	}},
	{section: peerSection, name: "AllowedIPs", field: "allowed_ips", list: func(p *tunnelParser) *[]netip.Prefix {
		return &p.peer().AllowedIPs
	}},
	{section: peerSection, name: "PersistentKeepalive", field: "keepalive", set: func(p *tunnelParser, value string) error {
		return keepalive(&p.peer().Keepalive, value)
	}},
}

// peer is that of the section.
func (p *tunnelParser) peer() *Peer { return &p.out.Peers[len(p.out.Peers)-1] }

// unknown reports a key that the section does not have, and which may be that of
// another section: elsewhere is its index, or -1.
func (p *tunnelParser) unknown(name string, elsewhere int) {
	if elsewhere >= 0 {
		p.mistake("", "%s belongs to the other kind of section", tunnelKeys[elsewhere].name)
		return
	}
	var names []string
	for _, k := range tunnelKeys {
		if k.section == p.section {
			names = append(names, k.name)
		}
	}
	p.mistake("", "unknown key%s", strict.DidYouMean(name, names))
}

// number has as many digits as any value of a file needs.
var number = regexp.MustCompile(`^[0-9]{1,10}$`)

// decimal reads a number whose range Tunnel.Validate checks.
func decimal(to *int, value string) error {
	if !number.MatchString(value) {
		return errors.New("is not a number")
	}
	n, err := strconv.ParseInt(value, 10, 64)
	*to = int(n)
	return err
}

// off is the word for no mark and no keepalive.
func off(value string) bool { return strings.EqualFold(value, "off") }

// firewallMark reads 51820, 0xca6c or off.
func firewallMark(to *uint32, value string) error {
	if off(value) {
		return nil
	}
	digits, base := value, 10
	if hex, ok := strings.CutPrefix(strings.ToLower(value), "0x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil {
		return errors.New("is not a mark: want a number of 32 bits such as 51820 or 0xca6c, or off")
	}
	*to = uint32(n)
	return nil
}

// keepalive reads seconds or off.
func keepalive(to *time.Duration, value string) error {
	if off(value) {
		return nil
	}
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return errors.New("is not a number of seconds in 0..65535, or off")
	}
	*to = time.Duration(n) * time.Second
	return nil
}
