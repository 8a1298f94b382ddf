package netplan

import (
	"github.com/smartvm/smartvm/internal/ruleset"
)

// dstnat leads what comes from elsewhere to forwarded ports. Addresses of the
// loopback network are left to the output chain: with route_localnet on the
// uplink, which some software switches on, neighbours could use them.
//
// A guest gets here only with a port of AllowHost. If that is also a forwarded one,
// it reaches the other guest if AllowPeers says so: publishing a port is no way
// around the isolation of guests.
func (r rules) dstnat() ruleset.Chain {
	c := base("dstnat", "nat", "prerouting", priorityDNAT, accept(within(ruleset.Destination, loopback)))
	c.Rules = append(c.Rules, forwardedPorts()...)
	c.Comment = "forwarded ports, from elsewhere"
	return c
}

// output leads connections of the host itself to forwarded ports.
func (r rules) output() ruleset.Chain {
	c := base("output", "nat", "output", priorityDNAT, forwardedPorts()...)
	c.Comment = "forwarded ports, from the host itself"
	return c
}

// forwardedPorts is for addresses of the host only: others are none of ours, even
// if a forward names one.
func forwardedPorts() []ruleset.Rule {
	specific, wildcard := declareForwards(), declareForwardsAny()
	return []ruleset.Rule{
		does(ruleset.DNAT{Key: specific.Key, Map: specific.Name}, toHost()),
		does(ruleset.DNAT{Key: wildcard.Key, Map: wildcard.Name}, toHost()),
	}
}

// srcnat makes guests' traffic come from the interface through which the kernel
// sends it: a changed default route needs no change here.
func (r rules) srcnat() ruleset.Chain {
	subnet := within(ruleset.Source, r.Subnet)
	c := base("srcnat", "nat", "postrouting", prioritySNAT,
		// The host's connection to a port forwarded on 127.0.0.1: no guest can answer there.
		does(ruleset.Masquerade{}, to(r.Bridge), within(ruleset.Source, loopback)),
	)
	if r.AllowPeers {
		// A guest at another's forwarded port: the answer must come back through here.
		c.Rules = append(c.Rules, does(ruleset.Masquerade{}, to(r.Bridge), subnet, translated()))
	}
	out := notTo(r.Bridge)
	if r.closed {
		out = to(r.tunnel)
	}
	c.Rules = append(c.Rules,
		does(ruleset.Masquerade{}, out, subnet, isNot(ruleset.Source, ruleset.Addr(r.gateway))))
	c.Comment = "sources of what leaves"
	return c
}
