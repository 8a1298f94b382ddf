package netplan

import (
	"net/netip"

	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// Facts is what a plan depends on and the host decides.
type Facts struct {
	// Uplink is the interface of the host's default route. Empty: there is none.
	Uplink    string
	UplinkMTU int
	// Routes are the destinations of all routes of the main table, with their interface.
	Routes []HostRoute
	// Resolvers of the host that can be reached from elsewhere: not those at addresses
	// of the host itself, whose services guests do not reach.
	Resolvers []netip.Addr
	// WireGuardMTU of an existing WireGuard interface, 0 if it does not exist.
	WireGuardMTU int
	// Barriers are the chains of others that would drop guests' traffic.
	Barriers []Barrier
	// LegacyTables is set when the host has tables of the iptables before nftables
	// (/proc/net/ip_tables_names), where barriers can't be seen.
	LegacyTables bool
}

// HostRoute is a route that the host has.
type HostRoute struct {
	To    netip.Prefix
	Iface string
}

// Barrier is a base chain of somebody else at the forward hook that drops what it
// does not know: by its policy, or by an unconditional last rule.
type Barrier struct {
	Family ruleset.Family `json:"family"`
	Table  string         `json:"table"`
	Chain  string         `json:"chain"`
	// Why is what drops there: "policy drop", "reject at its end".
	Why string `json:"why"`
}

// Guest is one interface of a VM on the network.
type Guest struct {
	TAP      string              `json:"tap"`
	MAC      HardwareAddr        `json:"mac"`
	Addr     netip.Addr          `json:"addr"`
	VM       string              `json:"vm"`
	Iface    string              `json:"iface"`
	Egress   *netconfig.Policy   `json:"egress,omitempty"`
	Forwards []netconfig.Forward `json:"forwards,omitempty"`
	// Inside is set for a guest that is a clone of another one: how it knows itself. TAP is
	// then no TAP but the end of a wire that leads to it, and MAC and Addr are those that
	// it has on the bridge.
	Inside *Inside `json:"inside,omitempty"`
}

// Plan is the kernel's state of one network. Order of making: bridge, WireGuard
// interface, sysctls, which are partly those of the links, routes, routing rules,
// tables, accepts. Policy is in place before the first TAP can be.
type Plan struct {
	Mark      string
	Bridge    Bridge
	Sysctls   []Sysctl
	WireGuard *WireGuard
	Rules     []RoutingRule
	Routes    []Route
	Tables    []ruleset.Table
	// Accepts are the rules of ours in chains of others.
	Accepts []Accept
	// DNS has the resolvers that guests are told of.
	DNS []netip.Addr
	// Warnings are for people: what was asked for and can't be had, and why.
	Warnings []string
	// TurnedForwardingOn is set by who found IP forwarding off and made it on for this
	// network, before it calls With. Then the comment of the tables ends with
	// [ForwardingWasOff]: the network that goes last puts the old value back.
	TurnedForwardingOn bool

	config netconfig.Config
	guests []Guest // that are in the tables
}

// ForwardingWasOff is the end of the comment of tables of a network that has switched
// on IP forwarding.
const ForwardingWasOff = " forwarding=0"

func (p *Plan) tableComment() string {
	if p.TurnedForwardingOn {
		return p.Mark + ForwardingWasOff
	}
	return p.Mark
}

// Bridge is the bridge with the gateway's address.
type Bridge struct {
	Name string       `json:"name"`
	Addr netip.Prefix `json:"addr"` // gateway's address, subnet's length
	MTU  int          `json:"mtu"`
}

// Sysctl is a kernel setting: its path below /proc/sys.
type Sysctl struct {
	Path  string `json:"path"`
	Value string `json:"value"`
	// Host is set when it belongs to the host and not to a link of the network:
	// then it is put back at the end.
	Host bool `json:"host,omitempty"`
	// Optional is set when all is well if the kernel does not have it: IPv6.
	Optional bool `json:"optional,omitempty"`
}

// WireGuard is the interface that is made, or used.
type WireGuard struct {
	Name   string
	Tunnel *netconfig.Tunnel // nil: it exists and is somebody else's
	MTU    int
}

// RoutingRule is an entry of the routing policy, as ip rule has them.
type RoutingRule struct {
	Priority    int    `json:"priority"`
	InIface     string `json:"iif"`
	Mark        uint32 `json:"mark,omitempty"`  // 0: any
	Table       int    `json:"table,omitempty"` // 0 with Unreachable
	Unreachable bool   `json:"unreachable,omitempty"`
}

// Route is a route in a table of the network's own.
type Route struct {
	Table int          `json:"table"`
	To    netip.Prefix `json:"to"`
	Iface string       `json:"iface"`
}

// Accept is a rule at the head of a barrier's chain that lets the network's
// traffic pass; the network's own table has decided about it by then or will.
type Accept struct {
	Barrier
	Rules []ruleset.Rule
}

// Change is what the tables need for one guest: chains and sets of its own, and
// elements of sets that are there. Its reverse is made of the same value.
//
// Chains jump to, and elements name, chains and sets of the same change only, or
// those that the network always has.
type Change struct {
	// Sysctls are settings of the bridge that the guest's forwards need. They are made
	// before the tables are changed, and stay as long as the bridge.
	Sysctls  []Sysctl
	Chains   []InTable[ruleset.Chain]
	Sets     []InTable[ruleset.Set]
	Elements []InTable[NewElements]
}

// InTable says which table something belongs to.
type InTable[T any] struct {
	Family ruleset.Family
	Table  string
	Item   T
}

// NewElements are elements for a set that exists.
type NewElements struct {
	Set      ruleset.Set // without elements: only its declaration
	Elements []ruleset.Element
}
