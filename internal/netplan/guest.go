package netplan

import (
	"net/netip"
	"slices"

	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// Attach returns what the tables of the network need for one guest. All of it goes
// when the guest goes. The config is valid and has its defaults, as in [Make].
func Attach(c netconfig.Config, g Guest) Change {
	table := TableName(c.Bridge)
	var change Change
	change.Sysctls = append(change.Sysctls, noIPv6(g))
	change.Chains = append(change.Chains, InTable[ruleset.Chain]{ruleset.Netdev, table, guard(g)})
	if g.Egress != nil {
		sets, chains := compile(g.TAP, g.TAP, g.TAP, g.Egress)
		for _, s := range sets {
			change.Sets = append(change.Sets, InTable[ruleset.Set]{ruleset.Inet, table, s})
		}
		for _, c := range chains {
			change.Chains = append(change.Chains, InTable[ruleset.Chain]{ruleset.Inet, table, c})
		}
		change.add(table, declarePolicies(), ruleset.Element{
			Key:     []ruleset.Range{{Min: ruleset.Addr(g.Addr)}},
			Verdict: &ruleset.Verdict{Kind: ruleset.Jump, Chain: g.TAP},
			Comment: g.VM,
		})
	}
	change.forwards(c, g)
	return change
}

func (c *Change) add(table string, set ruleset.Set, elements ...ruleset.Element) {
	if len(elements) > 0 {
		c.Elements = append(c.Elements, InTable[NewElements]{ruleset.Inet, table, NewElements{set, elements}})
	}
}

func (c *Change) forwards(config netconfig.Config, g Guest) {
	var specific, wildcard []ruleset.Element
	local := false
	for _, f := range g.Forwards {
		e := ruleset.Element{
			Key:     []ruleset.Range{{Min: ruleset.Number8(number(f.Protocol))}, {Min: ruleset.Number16(f.HostPort)}},
			Data:    []ruleset.Value{ruleset.Addr(g.Addr), ruleset.Number16(f.GuestPort)},
			Comment: g.VM,
		}
		host := f.HostIP
		if !host.IsValid() {
			host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		if host.IsUnspecified() {
			wildcard = append(wildcard, e)
		} else {
			e.Key = slices.Insert(e.Key, 0, ruleset.Range{Min: ruleset.Addr(host)})
			specific = append(specific, e)
		}
		if host.IsUnspecified() || host.IsLoopback() {
			local = true
		}
	}
	if local {
		c.Sysctls = append(c.Sysctls, Sysctl{Path: "net/ipv4/conf/" + config.Bridge + "/route_localnet", Value: "1"})
	}
	table := TableName(config.Bridge)
	c.add(table, declareForwards(), specific...)
	c.add(table, declareForwardsAny(), wildcard...)
}

// noIPv6 keeps the host from greeting the guest in IPv6 as its neighbour.
func noIPv6(g Guest) Sysctl {
	return Sysctl{Path: "net/ipv6/conf/" + g.TAP + "/disable_ipv6", Value: "1", Optional: true}
}

// guard is the chain of a TAP: what comes out of the guest has the guest's addresses
// or goes no further. An ARP probe has no address yet (RFC 5227).
func guard(g Guest) ruleset.Chain {
	mac, addr := ruleset.Value(g.MAC[:]), ruleset.Addr(g.Addr)
	frame := is(ruleset.EtherSource, mac)
	arp := func(source ruleset.Value) ruleset.Rule {
		return accept(frame, etherType(etherARP), is(ruleset.ARPSourceHW, mac), is(ruleset.ARPSourceIP, source))
	}
	return ruleset.Chain{
		Name:    g.TAP,
		Comment: "vm " + g.VM + ", " + g.Iface,
		Hook: &ruleset.Hook{
			Type: "filter", Point: "ingress", Device: g.TAP, Priority: priorityGuard, Drop: true,
		},
		Rules: []ruleset.Rule{
			accept(frame, etherType(etherIPv4), is(ruleset.Source, addr)),
			arp(addr),
			arp(ruleset.Addr(netip.IPv4Unspecified())),
			drop("IPv6", etherType(etherIPv6)),
			drop("spoofed source"),
		},
	}
}

// With returns a copy of the plan whose tables have all that the guests need, and
// which has the settings that their forwards need.
func (p *Plan) With(guests []Guest) *Plan {
	out := *p
	out.Sysctls = slices.Clone(p.Sysctls)
	out.Tables = cloneTables(p.Tables)
	for i := range out.Tables {
		out.Tables[i].Comment = p.tableComment()
	}
	out.guests = slices.Clone(guests)
	for _, g := range guests {
		change := Attach(p.config, g)
		change.addTo(out.Tables)
		for _, s := range change.Sysctls {
			if !slices.Contains(out.Sysctls, s) {
				out.Sysctls = append(out.Sysctls, s)
			}
		}
	}
	return &out
}

// addTo makes the change in tables that share nothing with others.
func (c *Change) addTo(tables []ruleset.Table) {
	find := func(family ruleset.Family, name string) *ruleset.Table {
		i := slices.IndexFunc(tables, func(t ruleset.Table) bool { return t.Family == family && t.Name == name })
		return &tables[i]
	}
	for _, s := range c.Sets {
		t := find(s.Family, s.Table)
		t.Sets = append(t.Sets, s.Item)
	}
	for _, chain := range c.Chains {
		t := find(chain.Family, chain.Table)
		t.Chains = append(t.Chains, chain.Item)
	}
	for _, e := range c.Elements {
		t := find(e.Family, e.Table)
		i := slices.IndexFunc(t.Sets, func(s ruleset.Set) bool { return s.Name == e.Item.Set.Name })
		t.Sets[i].Elements = append(t.Sets[i].Elements, e.Item.Elements...)
	}
}

// cloneTables copies what a change adds to.
func cloneTables(tables []ruleset.Table) []ruleset.Table {
	out := slices.Clone(tables)
	for i := range out {
		out[i].Chains = slices.Clone(out[i].Chains)
		out[i].Sets = slices.Clone(out[i].Sets)
		for j := range out[i].Sets {
			out[i].Sets[j].Elements = slices.Clone(out[i].Sets[j].Elements)
		}
	}
	return out
}
