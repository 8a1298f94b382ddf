package netplan

import (
	"fmt"
	"net/netip"

	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

const (
	ethernetMTU = 1500
	// wireGuardMTU is what wg-quick takes on Ethernet, wireGuardRoom what it leaves for
	// the tunnel's own headers over IPv6.
	wireGuardMTU  = 1420
	wireGuardRoom = 80
)

// Make plans a network on a host. The config is valid and has its defaults, those of
// [netconfig.Config.WithDefaults]; those that depend on the host are decided here.
//
// A subnet that the host has another way to already is INVALID_SUBNET. What can be
// planned but will not work as asked for is in the plan's Warnings.
func Make(c netconfig.Config, f Facts, o Owner) (*Plan, error) {
	c = *c.Clone()
	if err := checkSubnet(c, f); err != nil {
		return nil, err
	}
	p := &Plan{Mark: o.Mark(c.Bridge), config: c}
	p.tunnel(f)
	p.Bridge = Bridge{
		Name: c.Bridge,
		Addr: netip.PrefixFrom(c.Gateway(), c.Subnet.Bits()),
		MTU:  p.mtu(f),
	}
	p.settings()
	p.resolvers(f)
	p.Tables = rulesOf(c).tables()
	for i := range p.Tables {
		p.Tables[i].Comment = p.tableComment()
	}
	p.barriers(f)
	p.layers()
	return p, nil
}

func (p *Plan) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

// mtu is what fits through every interface that guests' traffic may take.
func (p *Plan) mtu(f Facts) int {
	if p.config.MTU != 0 {
		return p.config.MTU
	}
	mtu := ethernetMTU
	if f.UplinkMTU > 0 {
		mtu = min(mtu, f.UplinkMTU)
	}
	if tunnelled(p.config) && p.WireGuard.MTU > 0 {
		mtu = min(mtu, p.WireGuard.MTU)
	}
	return mtu
}

// settings lists the sysctls. Those of the bridge hold even when somebody removes
// the tables.
func (p *Plan) settings() {
	ipv4 := "net/ipv4/conf/" + p.config.Bridge + "/"
	p.Sysctls = append(p.Sysctls,
		Sysctl{Path: "net/ipv4/ip_forward", Value: "1", Host: true},
		Sysctl{Path: "net/ipv6/conf/" + p.config.Bridge + "/disable_ipv6", Value: "1", Optional: true},
		// Guests ask for the gateway only, not for other addresses of the host.
		Sysctl{Path: ipv4 + "arp_ignore", Value: "1"},
		// They can't change the host's routes, choose their own, or use other sources.
		Sysctl{Path: ipv4 + "accept_redirects", Value: "0"},
		Sysctl{Path: ipv4 + "accept_source_route", Value: "0"},
		Sysctl{Path: ipv4 + "rp_filter", Value: "1"},
	)
	if tunnelled(p.config) {
		// Answers come in where the host itself would not send to: only whether there is
		// a way at all is checked.
		p.Sysctls = append(p.Sysctls, Sysctl{
			Path: "net/ipv4/conf/" + p.WireGuard.Name + "/rp_filter", Value: "2",
			Host: p.WireGuard.Tunnel == nil,
		})
	}
}

// manyLayers is when the lookups of a policy begin to cost.
const manyLayers = 16

// layers warns of a policy whose rules overlap so much that packets wait for it.
func (p *Plan) layers() {
	for _, t := range p.Tables {
		for _, c := range t.Chains {
			if lookups := len(c.Rules) - 1; c.Name == chainEgress && lookups > manyLayers {
				p.warn("each packet is looked up in %d sets, since rules of the egress policy overlap", lookups)
			}
		}
	}
}

// barriers lets the network's traffic pass where others drop what they don't know.
func (p *Plan) barriers(f Facts) {
	for _, b := range f.Barriers {
		p.Accepts = append(p.Accepts, Accept{Barrier: b, Rules: []ruleset.Rule{
			accept(from(p.config.Bridge)),
			accept(to(p.config.Bridge), state(ruleset.StateEstablished|ruleset.StateRelated)),
			accept(to(p.config.Bridge), translated()),
		}})
	}
	if f.LegacyTables {
		p.warn("the host has tables of the old iptables, which can't be looked into; if guests reach nothing: "+
			"iptables-legacy -I FORWARD -i %[1]s -j ACCEPT; "+
			"iptables-legacy -I FORWARD -o %[1]s -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT", p.config.Bridge)
	}
}
