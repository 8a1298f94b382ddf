package netplan

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/internal/ruleset"
)

// Inside is how a guest that is a clone of another one knows itself and its gateway. It
// is in a network namespace of its own, where nothing else is:
//
//	guest - TAP   NAMESPACE   wire - bridge   HOST
//
// Rules at the two devices of the namespace put the addresses that the guest has on the
// bridge in the place of its own, and send each frame on through the other device.
// The namespace has no addresses, routes nothing and remembers nothing: for the guest
// and for the host it is a cable.
type Inside struct {
	TAP  string       `json:"tap"` // in the namespace
	MAC  HardwareAddr `json:"mac"`
	Addr netip.Addr   `json:"addr"`
	// Gateway is whom the guest takes for the network's gateway.
	Gateway    netip.Addr   `json:"gateway"`
	GatewayMAC HardwareAddr `json:"gateway_mac"`
}

// WireEnd is the name of the wire's end in the namespace. It is not the other end's, which
// may be the name of the guest's TAP as well.
func (g Guest) WireEnd() string { return "svw" + strings.TrimPrefix(g.TAP, "svt") }

// quotes are the kinds of ICMP that quote the packet that they are about. (Source quench
// is obsolete, and a redirect is not for guests.)
var quotes = []ruleset.Range{
	{Min: ruleset.Number8(3)},                            // destination unreachable
	{Min: ruleset.Number8(11), Max: ruleset.Number8(12)}, // time exceeded, parameter problem
}

// Translation returns the table of a guest's namespace, where the TAP and the end of the
// wire are. Gateway and bridge are the addresses of the network's gateway.
//
// What goes through it is what would go through a TAP of the bridge, but for IPv6: the
// guest's own frames, and all that the bridge sends. A frame that no rule sends on ends
// there, since the namespace itself is for none.
func Translation(g Guest, gateway netip.Addr, bridge HardwareAddr) ruleset.Table {
	t := translation{
		guest: g,
		addr:  pair{ruleset.Addr(g.Inside.Addr), ruleset.Addr(g.Addr)},
		mac:   pair{g.Inside.MAC[:], g.MAC[:]},
		// A gateway that the guest knows as what it is needs no rules.
		gateway:    pair{ruleset.Addr(g.Inside.Gateway), ruleset.Addr(gateway)},
		gatewayMAC: pair{g.Inside.GatewayMAC[:], bridge[:]},
	}
	return ruleset.Table{Family: ruleset.Netdev, Name: TableName(g.TAP), Chains: []ruleset.Chain{t.out(), t.in()}}
}

// translation is what is translated.
type translation struct {
	guest                          Guest
	addr, mac, gateway, gatewayMAC pair
}

// pair is what stands on one side of the namespace for what stands on the other.
type pair struct{ inside, outside ruleset.Value }

// out is the way from the guest. As in [guard], nothing gets on but what has the guest's
// own addresses: the guard at the wire's other end sees them no more. The rules before
// those change what may be dropped then.
func (t translation) out() ruleset.Chain {
	c := ingress("out", t.guest.Inside.TAP)
	c.Rules = slices.Concat(
		t.gateway.change(ruleset.Destination),
		t.gatewayMAC.change(ruleset.EtherDestination),
		quoted(t.gateway, ruleset.QuotedSource),
		quoted(t.addr, ruleset.QuotedDestination),
		t.addr.change(ruleset.ARPTargetIP), // it looks whether anybody else has its address
		t.gateway.change(ruleset.ARPTargetIP),
		t.gatewayMAC.change(ruleset.ARPTargetHW),
	)
	frame, way := is(ruleset.EtherSource, t.mac.inside), t.guest.WireEnd()
	arp := func(source pair) ruleset.Rule {
		return ruleset.Rule{
			Match: []ruleset.Match{frame, etherType(etherARP), is(ruleset.ARPSourceHW, t.mac.inside), is(ruleset.ARPSourceIP, source.inside)},
			Do: []ruleset.Statement{
				write(ruleset.ARPSourceIP, source.outside), write(ruleset.ARPSourceHW, t.mac.outside), write(ruleset.EtherSource, t.mac.outside),
				ruleset.Forward{Iface: way},
			},
		}
	}
	none := ruleset.Addr(netip.IPv4Unspecified())
	c.Rules = append(c.Rules,
		ruleset.Rule{
			Match: []ruleset.Match{frame, etherType(etherIPv4), is(ruleset.Source, t.addr.inside)},
			Do:    []ruleset.Statement{write(ruleset.Source, t.addr.outside), write(ruleset.EtherSource, t.mac.outside), ruleset.Forward{Iface: way}},
		},
		arp(t.addr),
		arp(pair{none, none}),
		drop("IPv6", etherType(etherIPv6)),
		drop("spoofed source"))
	return c
}

// in is the way to the guest.
func (t translation) in() ruleset.Chain {
	addr, mac, gateway, gatewayMAC := t.addr.reverse(), t.mac.reverse(), t.gateway.reverse(), t.gatewayMAC.reverse()
	c := ingress("in", t.guest.WireEnd())
	way := ruleset.Forward{Iface: t.guest.Inside.TAP}
	c.Rules = slices.Concat(
		mac.change(ruleset.EtherDestination),
		gatewayMAC.change(ruleset.EtherSource),
		gateway.change(ruleset.Source),
		addr.change(ruleset.Destination),
		quoted(addr, ruleset.QuotedSource),
		quoted(gateway, ruleset.QuotedDestination),
		[]ruleset.Rule{does(way, etherType(etherIPv4))},
		gateway.change(ruleset.ARPSourceIP),
		gatewayMAC.change(ruleset.ARPSourceHW),
		addr.change(ruleset.ARPTargetIP),
		mac.change(ruleset.ARPTargetHW),
		[]ruleset.Rule{does(way, etherType(etherARP))})
	return c
}

func ingress(name, device string) ruleset.Chain {
	return ruleset.Chain{
		Name: name,
		Hook: &ruleset.Hook{Type: "filter", Point: "ingress", Device: device, Priority: priorityGuard, Drop: true},
	}
}

func (p pair) reverse() pair { return pair{p.outside, p.inside} }

// change is the rule that puts the second in the place of the first; none if they are the
// same.
func (p pair) change(field ruleset.Field, when ...ruleset.Match) []ruleset.Rule {
	if bytes.Equal(p.inside, p.outside) {
		return nil
	}
	return []ruleset.Rule{does(write(field, p.outside), append(when, is(field, p.inside))...)}
}

// quoted is change for the packet that an error of ICMP is about.
func quoted(p pair, field ruleset.Field) (all []ruleset.Rule) {
	for _, kinds := range quotes {
		all = append(all, p.change(field, ruleset.Match{Fields: []ruleset.Field{ruleset.ICMPType}, Range: kinds})...)
	}
	return all
}

func write(field ruleset.Field, v ruleset.Value) ruleset.Statement {
	return ruleset.Write{Field: field, Value: v}
}
