package main

import (
	"fmt"
	"net/netip"

	"github.com/smartvm/smartvm/netconfig"
)

// policyRules is how many rules a policy has.
const policyRules = 500

// policy is one as somebody could have it: services of many networks, networks as a
// whole, and in the end what is forbidden in general, which overlaps with all of it.
// Nothing of it is about the destination of the stream, which so passes every rule.
func policy() *netconfig.Policy {
	p := &netconfig.Policy{Default: netconfig.Allow}
	for i := range policyRules - 1 {
		r := netconfig.Rule{
			Action:   []netconfig.Action{netconfig.Allow, netconfig.Deny}[i%2],
			To:       netconfig.Destination{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", i/250, i%250))},
			Protocol: []netconfig.Protocol{netconfig.TCP, netconfig.UDP}[i/2%2],
		}
		if i%10 != 0 { // the others are about all ports
			r.Ports = []netconfig.PortRange{{First: 443, Last: 443}}
		}
		p.Rules = append(p.Rules, r)
	}
	last := netconfig.Rule{Action: netconfig.Deny, To: netconfig.Destination{Prefix: netip.MustParsePrefix("10.0.0.0/8")}}
	p.Rules = append(p.Rules, last)
	return p.WithDefaults()
}
