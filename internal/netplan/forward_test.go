package netplan_test

import (
	"slices"
	"testing"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// Of the sample "policy": web has 127.0.0.1:8080 to 80, *:8443 to 443 and
// 192.0.2.7:53/udp to 5353.
func TestForwardedPortIsReachedWhereItListens(t *testing.T) {
	t.Parallel()
	m := samples()["policy"].machine(t)
	m.own = append(m.own, ip("192.0.2.8"))
	in := func(to string, proto uint8, port uint16) packet {
		return packet{in: "eth0", from: server, to: ip(to), proto: proto, port: port}
	}
	journeys{
		"any address":                     {in("192.0.2.8", tcp, 8443), "svbr0 to 172.30.0.2:443"},
		"one address":                     {in("192.0.2.7", udp, 53), "svbr0 to 172.30.0.2:5353"},
		"another address":                 {in("192.0.2.8", udp, 53), "host"},
		"another protocol":                {in("192.0.2.7", tcp, 53), "host"},
		"loopback from elsewhere":         {in("127.0.0.1", tcp, 8080), "host"}, // the kernel calls it martian, or somebody wants it
		"an address that is not the host": {in("198.51.100.9", tcp, 8443), "eth0 to 198.51.100.9:8443"},
		"ICMP that looks like the port":   {packet{in: "eth0", from: server, to: hostIP, proto: icmp, port: 8443}, "host"},
		"the guest's answer":              {packet{in: "svbr0", from: web, to: server, proto: tcp, state: ruleset.StateEstablished, reply: true}, "eth0 to 198.51.100.1:0"},
		"the next packet":                 {packet{in: "eth0", from: server, to: web, proto: tcp, port: 443, dnat: true, state: ruleset.StateEstablished}, "svbr0 to 172.30.0.2:443"},
	}.check(t, m)
	local := map[string]struct {
		packet packet
		want   string
	}{
		"loopback":                           {packet{from: ip("127.0.0.1"), to: ip("127.0.0.1"), proto: tcp, port: 8080}, "svbr0 to 172.30.0.2:80, masqueraded"},
		"any, by loopback":                   {packet{from: ip("127.0.0.1"), to: ip("127.0.0.1"), proto: tcp, port: 8443}, "svbr0 to 172.30.0.2:443, masqueraded"},
		"any, by the address":                {packet{from: hostIP, to: hostIP, proto: tcp, port: 8443}, "svbr0 to 172.30.0.2:443"},
		"any, by the gateway":                {packet{from: gateway, to: gateway, proto: tcp, port: 8443}, "svbr0 to 172.30.0.2:443"},
		"loopback's port at another address": {packet{from: hostIP, to: hostIP, proto: tcp, port: 8080}, "host"},
		"the same port of the world":         {packet{from: hostIP, to: server, proto: tcp, port: 8443}, "eth0 to 198.51.100.1:8443"},
	}
	for name, tt := range local {
		if got := m.open(tt.packet); got != tt.want {
			t.Errorf("from the host, %s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestForwardedPortIsNoWayAroundTheIsolationOfGuests(t *testing.T) {
	t.Parallel()
	s := samples()["policy"]
	s.config.Egress = nil
	hairpin := func(to string) packet {
		return packet{in: "svbr0", from: job, to: ip(to), proto: tcp, port: 8443}
	}
	t.Run("by default", func(t *testing.T) {
		t.Parallel()
		journeys{
			"at the host":    {hairpin("192.0.2.7"), isHost},
			"at the gateway": {hairpin("172.30.0.1"), isHost},
		}.check(t, s.machine(t))
	})
	t.Run("with AllowPeers", func(t *testing.T) {
		t.Parallel()
		s := s
		s.config.AllowPeers = true
		journeys{
			"at the host":    {hairpin("192.0.2.7"), isHost},
			"at the gateway": {hairpin("172.30.0.1"), isHost},
		}.check(t, s.machine(t))
	})
	t.Run("with AllowHost", func(t *testing.T) {
		t.Parallel()
		s := s
		s.config.AllowHost = []netconfig.HostPort{{Port: 8443}}
		journeys{
			"at the host":    {hairpin("192.0.2.7"), isHost},
			"at the gateway": {hairpin("172.30.0.1"), isPeer},
		}.check(t, s.machine(t))
	})
	t.Run("with both it works", func(t *testing.T) {
		t.Parallel()
		s := s
		s.config.AllowPeers = true
		s.config.AllowHost = []netconfig.HostPort{{Port: 8443}}
		journeys{
			"at the gateway": {hairpin("172.30.0.1"), "svbr0 to 172.30.0.2:443, masqueraded"},
		}.check(t, s.machine(t))
	})
	t.Run("of another network", func(t *testing.T) {
		t.Parallel()
		m := s.machine(t)
		other := sample{config: netconfig.Config{Bridge: "svbr1", Subnet: prefix("172.31.0.0/24")}}.plan(t)
		m.tables = append(m.tables, other.Tables...)
		m.own = append(m.own, ip("172.31.0.1"))
		journeys{
			"a published port":   {packet{in: "svbr1", from: ip("172.31.0.2"), to: hostIP, proto: tcp, port: 8443}, isHost},
			"at its own gateway": {packet{in: "svbr1", from: ip("172.31.0.2"), to: ip("172.31.0.1"), proto: tcp, port: 8443}, isHost},
			"the other gateway":  {packet{in: "svbr1", from: ip("172.31.0.2"), to: gateway, proto: tcp, port: 8443}, isHost},
			"directly":           {packet{in: "svbr1", from: ip("172.31.0.2"), to: web, proto: tcp, port: 443}, unasked},
		}.check(t, m)
	})
}

func TestLoopbackIsRoutedOnlyWhileAPortThereIsForwarded(t *testing.T) {
	t.Parallel()
	wanted := netplan.Sysctl{Path: "net/ipv4/conf/svbr0/route_localnet", Value: "1"}
	tests := map[string]struct {
		hostIP string
		want   bool
	}{
		"by default":          {"", true},
		"loopback":            {"127.0.0.2", true},
		"every address":       {"0.0.0.0", true},
		"another one of them": {"192.0.2.7", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := samples()["policy"].guests[1]
			g.Forwards = []netconfig.Forward{{HostPort: 80, GuestPort: 80}, {HostPort: 81, GuestPort: 81}}
			if tt.hostIP != "" {
				g.Forwards[0].HostIP, g.Forwards[1].HostIP = ip(tt.hostIP), ip(tt.hostIP)
			}
			plan := sample{guests: []netplan.Guest{g, g}}.plan(t)
			if n := count(plan.Sysctls, wanted); (n == 1) != tt.want || n > 1 {
				t.Errorf("%d times in the plan, want %t", n, tt.want)
			}
			change := netplan.Attach(*new(netconfig.Config).WithDefaults(), g)
			if got := slices.Contains(change.Sysctls, wanted); got != tt.want {
				t.Errorf("in the change: %t, want %t", got, tt.want)
			}
		})
	}
	if slices.Contains(sample{}.plan(t).Sysctls, wanted) {
		t.Error("without a guest")
	}
}

func count[T comparable](items []T, item T) int {
	n := 0
	for _, i := range items {
		if i == item {
			n++
		}
	}
	return n
}
