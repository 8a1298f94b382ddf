package netplan

import (
	"net/netip"

	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// Where the chains stand among those of others (linux/netfilter_ipv4.h).
const (
	priorityGuard      = -500 // of a device nobody else has chains of
	priorityRaw        = -300 // before connection tracking, which is at -200
	priorityPrerouting = -150 // after it, and before anybody's DNAT
	priorityDNAT       = -100
	priorityFilter     = -10 // before the firewalls of others, which are at 0
	prioritySNAT       = 100
)

// Names of what the tables always have.
const (
	chainHost      = "host"
	chainFromGuest = "from_guest"
	chainToGuest   = "to_guest"
	chainEgress    = "egress"

	setHostPorts   = "host_ports"
	mapPolicies    = "guest_policies"
	mapForwards    = "forwards"
	mapForwardsAny = "forwards_any"
)

var (
	loopback  = netip.MustParsePrefix("127.0.0.0/8")
	linkLocal = netip.MustParsePrefix("169.254.0.0/16")
	// notUnicast is multicast, what is reserved above it, and the broadcast address.
	notUnicast = netip.MustParsePrefix("224.0.0.0/3")
)

// TableName returns the name of the tables of a network, in both families.
func TableName(bridge string) string { return "smartvm-" + bridge }

// rules is what the tables of a network depend on.
type rules struct {
	netconfig.Config
	gateway netip.Addr
	tunnel  string // interface that guests' traffic takes, "" for the host's routes
	closed  bool   // and no other
}

func rulesOf(c netconfig.Config) rules {
	r := rules{Config: c, gateway: c.Gateway()}
	if tunnelled(c) {
		r.tunnel = c.WireGuard.Name()
		r.closed = !c.WireGuard.FailOpen
	}
	return r
}

// tables returns the tables without guests.
func (r rules) tables() []ruleset.Table {
	inet := ruleset.Table{Family: ruleset.Inet, Name: TableName(r.Bridge), Sets: r.sets()}
	inet.Chains = []ruleset.Chain{
		r.raw(), r.prerouting(), r.input(), r.host(), r.forward(), r.fromGuest(), r.toGuest(),
		r.dstnat(), r.output(), r.srcnat(),
	}
	sets, chains := r.egress()
	inet.Sets = append(inet.Sets, sets...)
	inet.Chains = append(inet.Chains, chains...)
	return []ruleset.Table{inet, {Family: ruleset.Netdev, Name: TableName(r.Bridge)}}
}

// sets returns those that are always there.
func (r rules) sets() []ruleset.Set {
	ports := ruleset.Set{
		Name:    setHostPorts,
		Key:     []ruleset.Field{ruleset.L4Proto, ruleset.Port},
		Comment: "services of the host that guests may use",
	}
	for _, p := range r.AllowHost {
		ports.Elements = append(ports.Elements, ruleset.Element{Key: []ruleset.Range{
			{Min: ruleset.Number8(number(p.Protocol))}, {Min: ruleset.Number16(p.Port)},
		}})
	}
	return []ruleset.Set{ports, declarePolicies(), declareForwards(), declareForwardsAny()}
}

func declarePolicies() ruleset.Set {
	return ruleset.Set{
		Name: mapPolicies, Key: []ruleset.Field{ruleset.Source}, Verdicts: true,
		Comment: "guests with a policy of their own",
	}
}

func declareForwards() ruleset.Set {
	return ruleset.Set{
		Name:    mapForwards,
		Key:     []ruleset.Field{ruleset.Destination, ruleset.L4Proto, ruleset.Port},
		Data:    []ruleset.Field{ruleset.Destination, ruleset.Port},
		Comment: "forwarded ports of one address of the host",
	}
}

func declareForwardsAny() ruleset.Set {
	return ruleset.Set{
		Name:    mapForwardsAny,
		Key:     []ruleset.Field{ruleset.L4Proto, ruleset.Port},
		Data:    []ruleset.Field{ruleset.Destination, ruleset.Port},
		Comment: "forwarded ports of all addresses of the host",
	}
}

// number returns the number of a protocol that has ports, or of icmp.
func number(p netconfig.Protocol) uint8 {
	switch p {
	case netconfig.UDP:
		return protoUDP
	case netconfig.ICMP:
		return protoICMP
	default:
		return protoTCP
	}
}
