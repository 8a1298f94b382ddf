package netplan_test

import (
	"net/netip"
	"testing"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// The world of these tests: a host with the address 192.0.2.7 at eth0, a container
// 172.17.0.2 at docker0, and the guests web (172.30.0.2) and job (172.30.0.3).
var (
	ip      = netip.MustParseAddr
	gateway = ip("172.30.0.1")
	hostIP  = ip("192.0.2.7")
	web     = ip("172.30.0.2")
	job     = ip("172.30.0.3")
	server  = ip("198.51.100.1")
)

const (
	icmp = 1
	tcp  = 6
	udp  = 17
	sctp = 132
)

func (s sample) machine(t *testing.T) machine {
	t.Helper()
	plan := s.plan(t)
	return machine{
		tb: t, tables: plan.Tables, own: []netip.Addr{gateway, hostIP},
		route: func(p packet) string { return route(plan, p) },
	}
}

// route does what the routing rules and routes of the plan say.
func route(plan *netplan.Plan, p packet) string {
	for _, r := range plan.Rules {
		if r.InIface != p.in || r.Mark != 0 && r.Mark != p.mark {
			continue
		}
		if r.Unreachable {
			return "unreachable"
		}
		best, device := -1, ""
		for _, to := range plan.Routes {
			if to.Table == r.Table && to.To.Contains(p.to) && to.To.Bits() > best {
				best, device = to.To.Bits(), to.Iface
			}
		}
		switch {
		case device != "":
			return device
		case r.Table == 254:
			return routeOfHost(p)
		}
	}
	return routeOfHost(p)
}

func routeOfHost(p packet) string {
	switch {
	case netip.MustParsePrefix("172.30.0.0/24").Contains(p.to):
		return "svbr0"
	case netip.MustParsePrefix("172.17.0.0/16").Contains(p.to):
		return "docker0"
	}
	return "eth0"
}

// journeys are packets and what becomes of them.
type journeys map[string]struct {
	packet packet
	want   string
}

func (j journeys) check(t *testing.T, m machine) {
	t.Helper()
	for name, tt := range j {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := m
			m.tb = t
			if got := m.send(tt.packet); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

const (
	isHost   = "drop: service of the host"
	isPeer   = "drop: other guest"
	unasked  = "drop: nobody asked for it"
	notValid = "drop: invalid or untracked"
)

func TestGuestReachesTheWorldAndNothingElseByDefault(t *testing.T) {
	t.Parallel()
	journeys{
		"a server":                        {packet{in: "svbr0", from: web, to: server, proto: tcp, port: 443}, "eth0 to 198.51.100.1:443, masqueraded"},
		"a server, second packet":         {packet{in: "svbr0", from: web, to: server, proto: tcp, port: 443, state: ruleset.StateEstablished}, "eth0 to 198.51.100.1:443"},
		"ping of the gateway":             {packet{in: "svbr0", from: web, to: gateway, proto: icmp, icmpType: 8}, "host"},
		"other ICMP to the gateway":       {packet{in: "svbr0", from: web, to: gateway, proto: icmp, icmpType: 13}, isHost},
		"ping of the host elsewhere":      {packet{in: "svbr0", from: web, to: hostIP, proto: icmp, icmpType: 8}, isHost},
		"ssh of the gateway":              {packet{in: "svbr0", from: web, to: gateway, proto: tcp, port: 22}, isHost},
		"ssh of the host elsewhere":       {packet{in: "svbr0", from: web, to: hostIP, proto: tcp, port: 22}, isHost},
		"resolver of the host":            {packet{in: "svbr0", from: web, to: gateway, proto: udp, port: 53}, isHost},
		"loopback of the host":            {packet{in: "svbr0", from: web, to: ip("127.0.0.1"), proto: tcp, port: 2375}, "drop: loopback of the host"},
		"loopback, as an answer":          {packet{in: "svbr0", from: web, to: ip("127.0.0.1"), proto: tcp, state: ruleset.StateEstablished, reply: true}, "drop: loopback of the host"},
		"metadata":                        {packet{in: "svbr0", from: web, to: ip("169.254.169.254"), proto: tcp, port: 80}, "drop: link-local, metadata"},
		"other guest through the gateway": {packet{in: "svbr0", from: web, to: job, proto: tcp, port: 22}, isPeer},
		"multicast":                       {packet{in: "svbr0", from: web, to: ip("239.1.2.3"), proto: udp, port: 5353}, "drop: multicast or broadcast"},
		"broadcast":                       {packet{in: "svbr0", from: web, to: ip("255.255.255.255"), proto: udp, port: 67}, "drop: multicast or broadcast"},
		"IPv6":                            {packet{in: "svbr0", v6: true, from: ip("fe80::1"), to: ip("2001:db8::1"), proto: tcp, port: 80}, "drop: IPv6"},
		"from elsewhere":                  {packet{in: "svbr0", from: ip("10.9.9.9"), to: server, proto: tcp, port: 443}, "drop: spoofed source"},
		"from no address":                 {packet{in: "svbr0", from: ip("0.0.0.0"), to: ip("255.255.255.255"), proto: udp, port: 67}, "drop: spoofed source"},
		"the host, as an answer":          {packet{in: "svbr0", from: web, to: gateway, proto: tcp, state: ruleset.StateEstablished, reply: true}, "host"},
		"headers that can't be read":      {packet{in: "svbr0", from: web, to: server, proto: tcp, state: ruleset.StateInvalid}, notValid},
		"past connection tracking":        {packet{in: "svbr0", from: web, to: server, proto: tcp, state: ruleset.StateUntracked}, notValid},
	}.check(t, sample{}.machine(t))
}

func TestOnlyWhatWasAskedForReachesGuests(t *testing.T) {
	t.Parallel()
	journeys{
		"an answer":     {packet{in: "eth0", from: server, to: web, proto: tcp, state: ruleset.StateEstablished, reply: true}, "svbr0 to 172.30.0.2:0"},
		"an ICMP error": {packet{in: "eth0", from: server, to: web, proto: icmp, icmpType: 3, state: ruleset.StateRelated, reply: true}, "svbr0 to 172.30.0.2:0"},
		"an ICMP error about an answer of a guest": {packet{in: "eth0", from: server, to: web, proto: icmp, icmpType: 3, state: ruleset.StateRelated}, "svbr0 to 172.30.0.2:0"},
		"a connection":                        {packet{in: "eth0", from: server, to: web, proto: tcp, port: 22}, unasked},
		"one that is open somehow":            {packet{in: "eth0", from: server, to: web, proto: tcp, port: 22, state: ruleset.StateEstablished}, unasked},
		"one that a helper expects":           {packet{in: "eth0", from: server, to: web, proto: tcp, port: 5000, state: ruleset.StateRelated}, unasked},
		"from a container":                    {packet{in: "docker0", from: ip("172.17.0.2"), to: web, proto: tcp, port: 22}, unasked},
		"from another network":                {packet{in: "svbr1", from: ip("172.31.0.2"), to: web, proto: tcp, port: 22}, unasked},
		"IPv6":                                {packet{in: "eth0", v6: true, from: ip("2001:db8::1"), to: ip("2001:db8::2"), proto: tcp}, "eth0 to 2001:db8::2:0"},
		"invalid":                             {packet{in: "eth0", from: server, to: web, proto: tcp, state: ruleset.StateInvalid}, unasked},
		"as if from a guest":                  {packet{in: "eth0", from: job, to: web, proto: tcp, port: 22}, "drop: guest's address from elsewhere"},
		"as if from a guest, to the host":     {packet{in: "eth0", from: job, to: hostIP, proto: udp, port: 53}, "drop: guest's address from elsewhere"},
		"the host to its own gateway address": {packet{in: "lo", from: gateway, to: gateway, proto: tcp, port: 22}, "host"},
		"somebody else's business":            {packet{in: "eth0", from: server, to: ip("172.17.0.2"), proto: tcp, port: 22}, "docker0 to 172.17.0.2:22"},
		"the host":                            {packet{in: "eth0", from: server, to: hostIP, proto: tcp, port: 22}, "host"},
		"IPv6 that looks like a guest":        {packet{in: "eth0", v6: true, from: ip("2001:db8::1"), to: ip("2001:db8::2")}, "eth0 to 2001:db8::2:0"},
	}.check(t, sample{}.machine(t))
}

// Docker's DNAT of a published port makes a connection to the host one that is
// forwarded: it must be seen before.
func TestGuestReachesNoPortThatOthersPublishOnTheHost(t *testing.T) {
	t.Parallel()
	m := sample{}.machine(t)
	m.tables = append(m.tables, docker(), imds())
	journeys{
		"at the gateway":       {packet{in: "svbr0", from: web, to: gateway, proto: tcp, port: 8000}, isHost},
		"at another address":   {packet{in: "svbr0", from: web, to: hostIP, proto: tcp, port: 8000}, isHost},
		"metadata, redirected": {packet{in: "svbr0", from: web, to: ip("169.254.169.254"), proto: tcp, port: 8000}, "drop: link-local, metadata"},
		"from elsewhere":       {packet{in: "eth0", from: server, to: hostIP, proto: tcp, port: 8000}, "docker0 to 172.17.0.2:80"},
	}.check(t, m)
}

// What is redirected to the host itself is one of its services, too.
func TestGuestReachesNoServiceOfTheHostByARedirection(t *testing.T) {
	t.Parallel()
	m := sample{}.machine(t)
	redirect := imds()
	redirect.Sets[0].Elements[0].Data[0] = ruleset.Addr(gateway)
	m.tables = append(m.tables, redirect)
	journeys{
		"from anywhere": {packet{in: "svbr0", from: web, to: server, proto: tcp, port: 8000}, isHost},
	}.check(t, m)
}

func TestSegmentsFitBothWays(t *testing.T) {
	t.Parallel()
	m := sample{}.machine(t)
	tests := map[string]struct {
		packet packet
		want   bool
	}{
		"from a guest":        {packet{in: "svbr0", out: "eth0", from: web, to: server, proto: tcp}, true},
		"to a guest":          {packet{in: "eth0", out: "svbr0", from: server, to: web, proto: tcp, reply: true}, true},
		"of others":           {packet{in: "eth0", out: "docker0", from: server, to: ip("172.17.0.2"), proto: tcp}, false},
		"of what has no such": {packet{in: "svbr0", out: "eth0", from: web, to: server, proto: udp}, false},
	}
	for name, tt := range tests {
		if why := m.hook("forward", &tt.packet); why != "" || tt.packet.clamped != tt.want {
			t.Errorf("%s: clamped %t (dropped: %q), want %t", name, tt.packet.clamped, why, tt.want)
		}
	}
}

// docker publishes port 8000 of every address.
func docker() ruleset.Table {
	key := []ruleset.Field{ruleset.L4Proto, ruleset.Port}
	return ruleset.Table{
		Family: ruleset.IP, Name: "nat",
		Sets: []ruleset.Set{{Name: "published", Key: key, Elements: []ruleset.Element{{
			Key:  []ruleset.Range{{Min: ruleset.Number8(tcp)}, {Min: ruleset.Number16(8000)}},
			Data: []ruleset.Value{ruleset.Addr(ip("172.17.0.2")), ruleset.Number16(80)},
		}}}},
		Chains: []ruleset.Chain{{
			Name: "PREROUTING",
			Hook: &ruleset.Hook{Type: "nat", Point: "prerouting", Priority: -100},
			Rules: []ruleset.Rule{{
				Match: []ruleset.Match{{
					Fields: []ruleset.Field{ruleset.DestinationKind},
					Range:  ruleset.Range{Min: ruleset.Number32(ruleset.KindLocal)},
				}},
				Do: []ruleset.Statement{ruleset.DNAT{Key: key, Map: "published"}},
			}},
		}},
	}
}

// imds is a proxy for the metadata service, as clusters have them.
func imds() ruleset.Table {
	t := docker()
	t.Chains[0].Rules[0].Match = nil
	return t
}

func TestTAPLetsOutWhatIsTheGuestsOwn(t *testing.T) {
	t.Parallel()
	mac, other := netplan.HardwareAddr{2, 0, 0, 0, 0, 2}, netplan.HardwareAddr{2, 0, 0, 0, 0, 3}
	m := samples()["policy"].machine(t)
	frame := func(change func(*packet)) packet {
		p := packet{in: "svtaaaaaaaa", mac: mac, etherType: 0x0800, from: web, to: server, proto: tcp}
		change(&p)
		return p
	}
	arp := func(hw netplan.HardwareAddr, addr netip.Addr) packet {
		return packet{in: "svtaaaaaaaa", mac: mac, etherType: 0x0806, arpMAC: hw, arpIP: addr}
	}
	tests := map[string]struct {
		packet packet
		want   string
	}{
		"IPv4":                        {frame(func(*packet) {}), ""},
		"ARP":                         {arp(mac, web), ""},
		"ARP probe":                   {arp(mac, ip("0.0.0.0")), ""},
		"from another MAC":            {frame(func(p *packet) { p.mac = other }), "spoofed source"},
		"from another address":        {frame(func(p *packet) { p.from = job }), "spoofed source"},
		"from the gateway":            {frame(func(p *packet) { p.from = gateway }), "spoofed source"},
		"ARP for another address":     {arp(mac, job), "spoofed source"},
		"ARP for the gateway":         {arp(mac, gateway), "spoofed source"},
		"ARP for another MAC":         {arp(other, web), "spoofed source"},
		"IPv6":                        {frame(func(p *packet) { p.etherType, p.v6 = 0x86dd, true }), "IPv6"},
		"spanning tree":               {frame(func(p *packet) { p.etherType = 4 }), "spoofed source"},
		"a VLAN in a VLAN":            {frame(func(p *packet) { p.etherType = 0x8100 }), "spoofed source"},
		"what is the other guest's":   {frame(func(p *packet) { p.mac, p.from = other, job }), "spoofed source"},
		"the other guest, at its own": {frame(func(p *packet) { p.in, p.mac, p.from = "svtbbbbbbbb", other, job }), ""},
	}
	for name, tt := range tests {
		if got := m.frame(tt.packet); got != tt.want {
			t.Errorf("%s: dropped as %q, want %q", name, got, tt.want)
		}
	}
}

func TestOptionsOpenOneThingEach(t *testing.T) {
	t.Parallel()
	t.Run("AllowHost", func(t *testing.T) {
		t.Parallel()
		config := netconfig.Config{AllowHost: []netconfig.HostPort{{Port: 8080}, {Protocol: netconfig.UDP, Port: 53}}}
		journeys{
			"a port of it":       {packet{in: "svbr0", from: web, to: gateway, proto: tcp, port: 8080}, "host"},
			"another of it":      {packet{in: "svbr0", from: web, to: gateway, proto: udp, port: 53}, "host"},
			"another protocol":   {packet{in: "svbr0", from: web, to: gateway, proto: tcp, port: 53}, isHost},
			"ICMP that looks it": {packet{in: "svbr0", from: web, to: gateway, proto: icmp, port: 8080}, isHost},
			"another address":    {packet{in: "svbr0", from: web, to: hostIP, proto: tcp, port: 8080}, isHost},
		}.check(t, sample{config: config}.machine(t))
	})
	t.Run("AllowPeers", func(t *testing.T) {
		t.Parallel()
		config := netconfig.Config{AllowPeers: true, Egress: &netconfig.Policy{Default: netconfig.Deny}}
		journeys{
			"a peer, whatever the egress policy is": {packet{in: "svbr0", from: web, to: job, proto: tcp, port: 22}, "svbr0 to 172.30.0.3:22"},
			"the host":                              {packet{in: "svbr0", from: web, to: gateway, proto: tcp, port: 22}, isHost},
			"the world":                             {packet{in: "svbr0", from: web, to: server, proto: tcp, port: 22}, "drop: default"},
		}.check(t, sample{config: config}.machine(t))
	})
	t.Run("AllowLinkLocal", func(t *testing.T) {
		t.Parallel()
		journeys{
			"metadata": {packet{in: "svbr0", from: web, to: ip("169.254.169.254"), proto: tcp, port: 80}, "eth0 to 169.254.169.254:80, masqueraded"},
		}.check(t, sample{config: netconfig.Config{AllowLinkLocal: true}}.machine(t))
	})
}
