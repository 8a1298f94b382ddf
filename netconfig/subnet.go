package netconfig

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// reserved are the ranges in which no guest can have an address.
var reserved = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "addresses of this network (RFC 1122)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback addresses"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local addresses"},
	{netip.MustParsePrefix("224.0.0.0/3"), "multicast and reserved addresses"},
}

// chooseSubnet is what to do about a subnet that can't be used.
const chooseSubnet = "choose one with a prefix of /1 to /30, such as " + DefaultSubnet

// ParseSubnet reads a subnet for guests such as 172.30.0.0/24, and normalises it
// to its network address. It may be neither IPv6, nor /0, /31 or /32, nor overlap with
// addresses that no guest can have: 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16 and all
// from 224.0.0.0 on. The error is INVALID_SUBNET.
func ParseSubnet(text string) (netip.Prefix, error) {
	fail := func(cause string) (netip.Prefix, error) {
		return netip.Prefix{}, &errcode.Error{
			Code: errcode.InvalidSubnet, Op: "parse subnet",
			Details: []errcode.Detail{{Message: cause}}, Hint: chooseSubnet,
		}
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err == nil:
	case !strings.Contains(text, "/"):
		return fail(strict.Quote(text) + " has no prefix length")
	default:
		return fail(strict.Quote(text) + " is not a subnet")
	}
	if cause := subnetFault(p); cause != "" {
		return fail(cause)
	}
	return p.Masked(), nil
}

// subnetFault returns why guests can't have the subnet, or "".
func subnetFault(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "is not a subnet"
	case !p.Addr().Is4():
		return fmt.Sprintf("%v is IPv6, and guests' traffic is IPv4", p)
	case p.Bits() < 1 || p.Bits() > 30:
		return fmt.Sprintf("%v has a prefix of /%d, want /1 to /30", p, p.Bits())
	}
	for _, r := range reserved {
		if r.prefix.Overlaps(p) {
			return fmt.Sprintf("%v overlaps with %v, %s", p, r.prefix, r.what)
		}
	}
	return ""
}

// subnet returns the subnet in its normal form.
func (c *Config) subnet() netip.Prefix {
	if c.Subnet == (netip.Prefix{}) {
		return netip.MustParsePrefix(DefaultSubnet)
	}
	return c.Subnet.Masked()
}

// bridge returns the name of the bridge.
func (c *Config) bridge() string { return cmp.Or(c.Bridge, DefaultBridge) }

// Gateway returns the host's address on the bridge, the first usable one of the
// subnet. The zero value is returned, as by [Config.FirstGuest] and
// [Config.LastGuest], if the config is not valid.
func (c *Config) Gateway() netip.Addr { return c.address(1) }

// FirstGuest returns the lowest address that a guest can have.
func (c *Config) FirstGuest() netip.Addr { return c.address(2) }

// LastGuest returns the highest address that a guest can have, the one before the
// broadcast address.
func (c *Config) LastGuest() netip.Addr { return c.address(1 + uint32(c.Capacity())) }

// Capacity returns how many addresses there are for guests: all of the subnet but
// the network's, the gateway's and the broadcast address. It is 0 if the config is
// not valid.
func (c *Config) Capacity() int {
	s := c.subnet()
	if subnetFault(s) != "" {
		return 0
	}
	return 1<<(32-s.Bits()) - 3
}

// address returns the subnet's nth address.
func (c *Config) address(n uint32) netip.Addr {
	s := c.subnet()
	if subnetFault(s) != "" {
		return netip.Addr{}
	}
	a := s.Addr().As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+n)
	return netip.AddrFrom4(a)
}
