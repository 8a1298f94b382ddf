package netplan

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

// halfOfAll is the length of the prefixes by which some VPNs replace the default
// route without touching it: 0.0.0.0/1 and 128.0.0.0/1.
const halfOfAll = 1

// checkSubnet refuses a subnet that the host has a way to already: guests, or those
// who use that way, would be cut off.
func checkSubnet(c netconfig.Config, f Facts) error {
	taken := taken(c, f)
	for _, r := range taken {
		if !r.To.Overlaps(c.Subnet) {
			continue
		}
		hint := "choose another subnet"
		if free := freeSubnet(c.Subnet.Bits(), taken); free.IsValid() {
			hint += ", such as " + free.String()
		}
		return &errcode.Error{
			Code: errcode.InvalidSubnet, Op: "plan network", Subject: c.Bridge, Hint: hint,
			Details: []errcode.Detail{{
				Field: "subnet", Message: fmt.Sprintf("%v overlaps with %v, which the host reaches through %s", c.Subnet, r.To, r.Iface),
			}},
		}
	}
	return nil
}

// taken returns what the host has other ways to, that of the tunnel included. A
// default route is a way to what there is no other way to.
func taken(c netconfig.Config, f Facts) []HostRoute {
	var routes []HostRoute
	for _, r := range f.Routes {
		if r.To.Bits() > halfOfAll && r.Iface != c.Bridge {
			routes = append(routes, r)
		}
	}
	if c.WireGuard == nil || c.WireGuard.Tunnel == nil {
		return routes
	}
	for _, a := range c.WireGuard.Tunnel.Addresses {
		routes = append(routes, HostRoute{To: a.Masked(), Iface: c.WireGuard.Name()})
	}
	for _, peer := range c.WireGuard.Tunnel.Peers {
		for _, a := range peer.AllowedIPs {
			// The guests' subnet may be a part of what is behind the tunnel, but not the reverse.
			if a.Bits() >= c.Subnet.Bits() {
				routes = append(routes, HostRoute{To: a.Masked(), Iface: c.WireGuard.Name()})
			}
		}
	}
	return routes
}

// private are the prefixes in which another subnet is looked for, in this order
// (RFC 1918).
var private = []netip.Prefix{
	netip.MustParsePrefix("172.30.0.0/15"),
	netip.MustParsePrefix("10.64.0.0/10"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
}

// freeSubnet returns a private subnet that overlaps with no route, the zero value
// if there is none.
func freeSubnet(bits int, routes []HostRoute) netip.Prefix {
	const patience = 1 << 12 // more candidates than anybody reads about
	for _, pool := range private {
		first := pool.Addr().As4()
		low := binary.BigEndian.Uint32(first[:])
		for i := range min(patience, 1<<max(0, bits-pool.Bits())) {
			var addr [4]byte
			binary.BigEndian.PutUint32(addr[:], low+uint32(i)<<(32-bits))
			candidate := netip.PrefixFrom(netip.AddrFrom4(addr), bits)
			if bits >= pool.Bits() && isFree(candidate, routes) {
				return candidate
			}
		}
	}
	return netip.Prefix{}
}

func isFree(p netip.Prefix, routes []HostRoute) bool {
	for _, r := range routes {
		if r.To.Overlaps(p) {
			return false
		}
	}
	return true
}
