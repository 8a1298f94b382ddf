package netplan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/netconfig"
)

// Text returns the plan for people: what will be made on the host, why, and the
// tables in the syntax of nft. No secret is in it.
func (p *Plan) Text() string {
	var t text
	t.printf("Network %s, %v\n", p.Bridge.Name, p.config.Subnet)
	t.links(p)
	t.guests(p)
	t.policies(p)
	t.settings(p)
	t.wireGuard(p)
	t.routing(p)
	t.tables(p)
	t.namespaces(p)
	t.accepts(p)
	t.warnings(p)
	return t.String()
}

// text is sections of lines.
type text struct{ strings.Builder }

func (t *text) printf(format string, args ...any) { _, _ = fmt.Fprintf(t, format, args...) }

// section begins one, with an explanation of one line.
func (t *text) section(title, why string) { t.printf("\n%s: %s\n", title, why) }

func (t *text) links(p *Plan) {
	t.section("Links", fmt.Sprintf("marked by the alias %q", p.Mark))
	t.printf("  %-15s bridge with the gateway's address %v, MTU %d\n", p.Bridge.Name, p.Bridge.Addr, p.Bridge.MTU)
	if p.WireGuard != nil && p.WireGuard.Tunnel != nil {
		t.printf("  %-15s WireGuard tunnel, MTU %d\n", p.WireGuard.Name, p.WireGuard.MTU)
	}
	ports := "can't reach each other"
	if p.config.AllowPeers {
		ports = "can reach each other"
	}
	t.printf("  each guest gets a TAP, a port of the bridge without IPv6; guests %s\n", ports)
}

func (t *text) guests(p *Plan) {
	t.section("Guests", "who they are and what they are told of")
	t.printf("  gateway %v, resolvers %s\n", p.config.Gateway(), list(p.DNS))
	for _, g := range p.guests {
		t.printf("  %-15s %v %v, %s of vm %s%s\n", g.TAP, g.Addr, g.MAC, g.Iface, g.VM, ownPolicy(g))
		if i := g.Inside; i != nil {
			t.printf("  %15s clone: knows itself as %v %v, and the gateway as %v %v\n", "", i.Addr, i.MAC, i.Gateway, i.GatewayMAC)
		}
		for _, f := range g.Forwards {
			t.printf("  %15s port %d is reached at %s\n", "", f.GuestPort, reachedAt(f))
		}
	}
}

func ownPolicy(g Guest) string {
	if g.Egress == nil {
		return ""
	}
	return ", with an egress policy of its own"
}

func reachedAt(f netconfig.Forward) string {
	proto := netconfig.TCP
	if f.Protocol != "" {
		proto = f.Protocol
	}
	switch {
	case !f.HostIP.IsValid():
		return fmt.Sprintf("127.0.0.1:%d/%s, from the host only", f.HostPort, proto)
	case f.HostIP.IsLoopback():
		return fmt.Sprintf("%v:%d/%s, from the host only", f.HostIP, f.HostPort, proto)
	case f.HostIP.IsUnspecified():
		return fmt.Sprintf("port %d/%s of every address of the host", f.HostPort, proto)
	}
	return fmt.Sprintf("%v:%d/%s", f.HostIP, f.HostPort, proto)
}

func (t *text) settings(p *Plan) {
	t.section("Kernel settings", "below /proc/sys; those of the host are put back with the last network")
	for _, s := range p.Sysctls {
		if slices.ContainsFunc(p.guests, func(g Guest) bool { return s == noIPv6(g) }) {
			continue // said once, of all TAPs
		}
		note := ""
		if s.Host {
			note = " (host)"
		}
		t.printf("  %s = %s%s\n", s.Path, s.Value, note)
	}
}

func (t *text) wireGuard(p *Plan) {
	w := p.WireGuard
	if w == nil {
		return
	}
	if w.Tunnel == nil {
		t.section("WireGuard", "an interface that somebody else manages")
		t.printf("  %s, MTU %d\n", w.Name, w.MTU)
		return
	}
	t.section("WireGuard", "an interface for this network, without secrets")
	t.printf("  %s, addresses %s\n", w.Name, list(w.Tunnel.Addresses))
	if w.Tunnel.ListenPort != 0 {
		t.printf("  listens on port %d\n", w.Tunnel.ListenPort)
	}
	if w.Tunnel.Mark != 0 {
		t.printf("  encrypted packets have the mark %#x\n", w.Tunnel.Mark)
	}
	for _, peer := range w.Tunnel.Peers {
		endpoint := peer.Endpoint
		if endpoint == "" {
			endpoint = "an endpoint that it tells itself"
		}
		t.printf("  peer %s at %s, allowed %s", peer.PublicKey.PublicText(), endpoint, list(peer.AllowedIPs))
		if peer.Keepalive != 0 {
			t.printf(", keepalive %v", peer.Keepalive)
		}
		t.printf("\n")
	}
}

func (t *text) routing(p *Plan) {
	if len(p.Rules) == 0 {
		t.section("Routing", "the host's own, whichever route is the default one")
		return
	}
	t.section("Routing", "guests' traffic takes the tunnel; these hold without the tables below as well")
	for _, r := range p.Rules {
		t.printf("  rule %v\n", r)
	}
	for _, r := range p.Routes {
		t.printf("  route %v\n", r)
	}
}

// String returns the rule as ip rule shows it.
func (r RoutingRule) String() string {
	text := fmt.Sprintf("%d: from all", r.Priority)
	if r.Mark != 0 {
		text += fmt.Sprintf(" fwmark %#x", r.Mark)
	}
	text += " iif " + r.InIface
	switch {
	case r.Unreachable:
		return text + " unreachable"
	case r.Table == tableMain:
		return text + " lookup main"
	}
	return text + fmt.Sprintf(" lookup %d", r.Table)
}

// String returns the route as ip route takes it.
func (r Route) String() string {
	to := r.To.String()
	if r.To == netip.PrefixFrom(netip.IPv4Unspecified(), 0) {
		to = "default"
	}
	return fmt.Sprintf("%s dev %s table %d", to, r.Iface, r.Table)
}

func (t *text) tables(p *Plan) {
	t.section("Tables", "nftables, replaced in one transaction")
	for _, table := range p.Tables {
		t.printf("%s", table)
	}
}

// namespaces are those of guests that are clones.
func (t *text) namespaces(p *Plan) {
	for _, g := range p.guests {
		if g.Inside == nil {
			continue
		}
		t.section("Namespace of "+g.TAP, "where Firecracker runs, and where addresses are translated; it goes with Firecracker")
		t.printf("  %-15s TAP, MTU %d\n", g.Inside.TAP, p.Bridge.MTU)
		t.printf("  %-15s the end of a wire to %s, a port of the bridge\n", g.WireEnd(), g.TAP)
		t.printf("%s", Translation(g, p.config.Gateway(), BridgeAddr(p.Mark)))
	}
}

func (t *text) accepts(p *Plan) {
	if len(p.Accepts) == 0 {
		return
	}
	t.section("Chains of others", "these drop what they do not know; rules at their head let the network's traffic pass")
	t.printf("  The tables above have the last word about it: what they drop stays dropped.\n")
	for _, a := range p.Accepts {
		t.printf("  %s %s %s (%s)\n", a.Family, a.Table, a.Chain, a.Why)
		for _, r := range a.Rules {
			r.Comment = p.Mark
			t.printf("    %v\n", r)
		}
	}
}

func (t *text) warnings(p *Plan) {
	if len(p.Warnings) == 0 {
		return
	}
	t.section("Warnings", "what may not work as asked for")
	for _, w := range p.Warnings {
		t.printf("  %s\n", w)
	}
}

func list[T fmt.Stringer](items []T) string {
	if len(items) == 0 {
		return "none"
	}
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = item.String()
	}
	return strings.Join(texts, ", ")
}
