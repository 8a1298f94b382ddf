package netplan

import (
	"github.com/smartvm/smartvm/internal/ruleset"
)

func base(name, kind, point string, priority int, rules ...ruleset.Rule) ruleset.Chain {
	return ruleset.Chain{
		Name: name, Rules: rules,
		Hook: &ruleset.Hook{Type: kind, Point: point, Priority: priority},
	}
}

// raw drops what can't be right, whatever it is. It stands before connection
// tracking, so that no such packet costs an entry there.
func (r rules) raw() ruleset.Chain {
	c := base("raw", "filter", "prerouting", priorityRaw,
		drop("guest's address from elsewhere", notFrom(r.Bridge), notFrom("lo"),
			is(ruleset.NFProto, ruleset.Number8(nfprotoIPv4)), within(ruleset.Source, r.Subnet)),
		accept(notFrom(r.Bridge)),
		drop("IPv6", is(ruleset.NFProto, ruleset.Number8(nfprotoIPv6))),
		drop("spoofed source", notWithin(ruleset.Source, r.Subnet)),
		drop("loopback of the host", within(ruleset.Destination, loopback)),
	)
	c.Comment = "what can't be right"
	return c
}

// prerouting looks at what guests mean to reach before anybody translates it: a
// port that Docker publishes on the host is a service of the host, although its
// packets are forwarded.
//
// It drops what has no connection. Behind it every packet has headers that can be
// read, so that a rule about ports can't be evaded by cutting them off.
func (r rules) prerouting() ruleset.Chain {
	answer := accept(reply())
	if r.tunnel != "" {
		// Answers to forwarded ports go where the question came from, not into the tunnel.
		answer.Do = append([]ruleset.Statement{ruleset.SetMark{Mark: MarkReply}}, answer.Do...)
	}
	c := base("prerouting", "filter", "prerouting", priorityPrerouting,
		accept(notFrom(r.Bridge)),
		drop("invalid or untracked", state(ruleset.StateInvalid|ruleset.StateUntracked)),
		answer,
	)
	if !r.AllowLinkLocal {
		c.Rules = append(c.Rules, drop("link-local, metadata", within(ruleset.Destination, linkLocal)))
	}
	c.Rules = append(c.Rules, jump(chainHost, toHost()))
	c.Comment = "what guests mean to reach"
	return c
}

// input is for what is delivered to the host in the end, by a translation of
// somebody else's for example.
func (r rules) input() ruleset.Chain {
	c := base("input", "filter", "input", priorityFilter,
		accept(notFrom(r.Bridge)),
		accept(reply()),
		jump(chainHost),
	)
	c.Comment = "what reaches the host"
	return c
}

// host decides what guests may have of the host.
func (r rules) host() ruleset.Chain {
	gateway := is(ruleset.Destination, ruleset.Addr(r.gateway))
	return ruleset.Chain{
		Name:    chainHost,
		Comment: "services of the host",
		Rules: []ruleset.Rule{
			accept(gateway, protocol(protoICMP), is(ruleset.ICMPType, ruleset.Number8(echoRequest))),
			accept(gateway, inSet(setHostPorts, ruleset.L4Proto, ruleset.Port)),
			drop("service of the host"),
		},
	}
}

// forward is the way through the host. Accept ends this chain only: firewalls of
// others may still drop.
func (r rules) forward() ruleset.Chain {
	syn := []ruleset.Match{protocol(protoTCP), is(ruleset.TCPFlags, ruleset.Number8(flagSYN))}
	between := drop("other guest", from(r.Bridge), to(r.Bridge))
	if r.AllowPeers {
		between = accept(from(r.Bridge), to(r.Bridge))
	}
	c := base("forward", "filter", "forward", priorityFilter,
		does(ruleset.ClampMSS{}, append([]ruleset.Match{from(r.Bridge)}, syn...)...),
		does(ruleset.ClampMSS{}, append([]ruleset.Match{to(r.Bridge)}, syn...)...),
		between,
		jump(chainFromGuest, from(r.Bridge)),
		jump(chainToGuest, to(r.Bridge)),
	)
	c.Comment = "through the host"
	return c
}

// fromGuest decides about each packet of the original direction, not only about the
// first of a connection: a policy that is replaced holds for open connections. Both
// the guest's own policy and the network's must allow it.
//
// ICMP errors of a guest about what it received are of that direction too, and ICMP
// to the policy: an error is a way to send data.
func (r rules) fromGuest() ruleset.Chain {
	c := ruleset.Chain{
		Name:    chainFromGuest,
		Comment: "from guests to elsewhere",
		Rules:   []ruleset.Rule{accept(reply())},
	}
	if r.closed {
		c.Rules = append(c.Rules, drop("not through the tunnel", notTo(r.tunnel)))
	}
	c.Rules = append(c.Rules,
		drop("multicast or broadcast", within(ruleset.Destination, notUnicast)),
		does(ruleset.VerdictMap{Key: []ruleset.Field{ruleset.Source}, Map: mapPolicies}))
	c.Rules = append(c.Rules, jump(chainEgress))
	return c
}

// toGuest lets in what guests asked for, ICMP errors about their connections, and
// what was sent to a forwarded port.
func (r rules) toGuest() ruleset.Chain {
	return ruleset.Chain{
		Name:    chainToGuest,
		Comment: "from elsewhere to guests",
		Rules: []ruleset.Rule{
			accept(reply()),
			accept(protocol(protoICMP), state(ruleset.StateRelated)),
			accept(translated()),
			drop("nobody asked for it"),
		},
	}
}
