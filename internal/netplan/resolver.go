package netplan

import (
	"net/netip"
	"slices"

	"github.com/smartvm/smartvm/netconfig"
)

const portDNS = 53

// resolvers chooses those that guests are told of: the config's, or those of the
// host that guests can reach.
func (p *Plan) resolvers(f Facts) {
	if len(p.config.DNS) > 0 {
		p.DNS = slices.Clone(p.config.DNS)
		for _, addr := range p.DNS {
			if why := p.outOfReach(addr); why != "" {
				p.warn("guests can't ask the resolver %v: %s", addr, why)
			}
		}
		return
	}
	for _, addr := range f.Resolvers {
		if addr.Is4() && !addr.IsLoopback() && p.outOfReach(addr) == "" {
			p.DNS = append(p.DNS, addr)
		}
	}
	switch {
	case len(p.DNS) == 0:
		p.warn("guests have no resolver: the host has none that they can reach (set dns)")
	case tunnelled(p.config):
		p.warn("guests ask the host's resolvers through the tunnel, where they may be out of reach (set dns): %s", list(p.DNS))
	}
}

// outOfReach returns why the network does not let guests reach a resolver, or "".
func (p *Plan) outOfReach(addr netip.Addr) string {
	switch {
	case linkLocal.Contains(addr) && !p.config.AllowLinkLocal:
		return "its address is link-local, which allow_link_local opens"
	case addr == p.config.Gateway():
		if !slices.Contains(p.config.AllowHost, netconfig.HostPort{Protocol: netconfig.UDP, Port: portDNS}) {
			return "it is the gateway, which allow_host opens"
		}
	case p.config.Subnet.Contains(addr):
		if !p.config.AllowPeers {
			return "it is among the guests, which allow_peers opens"
		}
	case p.config.Egress.Decide(addr, netconfig.UDP, portDNS).Action == netconfig.Deny:
		return "the egress policy denies it"
	}
	return ""
}
