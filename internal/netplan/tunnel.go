package netplan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/smartvm/smartvm/netconfig"
)

// Routing rules for guests' traffic when it takes a tunnel. All of them are about
// what comes in from the bridge, so networks share these numbers and nobody else is
// concerned. They stand right behind the rule for the host's own addresses (0),
// before those of other software (Cilium from 9 on only for marked packets, NetBird
// from 100, Tailscale from 5210, wg-quick before 32766): who routes everything
// somewhere else must not be asked first.
const (
	// PriorityReply routes answers to forwarded ports by the host's routes.
	PriorityReply = 70
	// PriorityTunnel routes everything else by the table of the tunnel.
	PriorityTunnel = 80
	// PriorityBlocked is where what the tunnel has no route for ends, unless it fails open.
	PriorityBlocked = 90
)

// MarkReply is the mark of answers to forwarded ports. A guest can't set a mark.
// The bits are none of those in use by Docker, Kubernetes (0xc000), Cilium (0x0f00),
// Tailscale (0xff0000) and wg-quick (its port, 16 bits); only packets of the bridge
// get it, the whole mark is set and the whole mark is compared.
const MarkReply = 0x1e000000

const tableMain = 254 // RT_TABLE_MAIN

// tunnelled reports whether guests' traffic takes the tunnel.
func tunnelled(c netconfig.Config) bool {
	return c.WireGuard != nil && !c.WireGuard.KeepDefaultRoute
}

// tunnel plans the WireGuard interface and the way to it.
func (p *Plan) tunnel(f Facts) {
	w := p.config.WireGuard
	if w == nil {
		return
	}
	p.WireGuard = &WireGuard{Name: w.Name(), Tunnel: w.Tunnel, MTU: f.WireGuardMTU}
	switch {
	case w.Tunnel != nil:
		p.WireGuard.MTU = tunnelMTU(w.Tunnel, f)
	case f.WireGuardMTU == 0:
		p.warn("there is no WireGuard interface %s", w.Existing)
	}
	if w.KeepDefaultRoute {
		return
	}
	if f.Uplink == "" {
		p.warn("the host has no default route: its reverse path filter may drop what comes out of the tunnel, unless %s is 0",
			"net.ipv4.conf."+p.WireGuard.Name+".rp_filter")
	}
	p.rules()
	p.routes()
}

// tunnelMTU leaves room for the tunnel's headers, as wg-quick does.
func tunnelMTU(t *netconfig.Tunnel, f Facts) int {
	switch {
	case t.MTU != 0:
		return t.MTU
	case f.UplinkMTU > wireGuardRoom:
		return min(wireGuardMTU, f.UplinkMTU-wireGuardRoom)
	}
	return wireGuardMTU
}

// rules go by the interface that packets come from: they hold even when somebody
// removes the tables. The encrypted packets are the host's own, so that they never
// go into the tunnel again.
func (p *Plan) rules() {
	bridge, w := p.config.Bridge, p.config.WireGuard
	p.Rules = []RoutingRule{
		{Priority: PriorityReply, InIface: bridge, Mark: MarkReply, Table: tableMain},
		{Priority: PriorityTunnel, InIface: bridge, Table: w.RouteTable},
	}
	if !w.FailOpen {
		p.Rules = append(p.Rules, RoutingRule{Priority: PriorityBlocked, InIface: bridge, Unreachable: true})
	}
}

// routes fills the tunnel's table. The guests' own subnet is there as well: what a
// guest sends to another by way of the gateway is not for the tunnel.
func (p *Plan) routes() {
	w := p.config.WireGuard
	p.Routes = []Route{{Table: w.RouteTable, To: p.config.Subnet, Iface: p.config.Bridge}}
	to := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	if w.Tunnel != nil {
		to = allowed(w.Tunnel)
	}
	for _, prefix := range to {
		p.Routes = append(p.Routes, Route{Table: w.RouteTable, To: prefix, Iface: p.WireGuard.Name})
	}
}

// allowed returns what is behind the tunnel, in order and each once.
func allowed(t *netconfig.Tunnel) []netip.Prefix {
	var all []netip.Prefix
	for _, peer := range t.Peers {
		for _, a := range peer.AllowedIPs {
			all = append(all, a.Masked())
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return slices.Compact(all)
}
