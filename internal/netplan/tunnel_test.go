package netplan_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

func managed() *netconfig.WireGuard {
	return &netconfig.WireGuard{Tunnel: &netconfig.Tunnel{
		PrivateKey: netconfig.Key{1, 2, 3},
		Addresses:  []netip.Prefix{prefix("10.8.0.2/32")},
		ListenPort: 51820,
		Mark:       0x2a,
		Peers: []netconfig.Peer{
			{
				PublicKey: netconfig.Key{4, 5, 6}, PresharedKey: netconfig.Key{7, 8, 9},
				Endpoint: "vpn.example.net:51820", Keepalive: 25 * time.Second,
				AllowedIPs: []netip.Prefix{prefix("198.51.100.0/24"), prefix("10.8.0.1/24")},
			},
			{PublicKey: netconfig.Key{10}, AllowedIPs: []netip.Prefix{prefix("198.51.100.0/24")}},
		},
	}}
}

func TestTunnelFailsClosed(t *testing.T) {
	t.Parallel()
	journeys{
		"what is behind it":       {packet{in: "svbr0", from: web, to: server, proto: tcp, port: 443}, "svwg0 to 198.51.100.1:443, masqueraded"},
		"what is not":             {packet{in: "svbr0", from: web, to: ip("203.0.113.1"), proto: tcp, port: 443}, "drop: not through the tunnel"},
		"the network of the host": {packet{in: "svbr0", from: web, to: ip("192.0.2.1"), proto: tcp, port: 443}, "drop: not through the tunnel"},
		"another guest":           {packet{in: "svbr0", from: web, to: job, proto: tcp, port: 22}, isPeer},
		"an answer to a forwarded port": {
			packet{in: "svbr0", from: web, to: ip("203.0.113.1"), proto: tcp, state: ruleset.StateEstablished, reply: true},
			"eth0 to 203.0.113.1:0",
		},
		"the answer to the guest": {packet{in: "svwg0", from: server, to: web, proto: tcp, state: ruleset.StateEstablished, reply: true}, "svbr0 to 172.30.0.2:0"},
		"out of the tunnel":       {packet{in: "svwg0", from: server, to: web, proto: tcp, port: 22}, unasked},
	}.check(t, sample{config: netconfig.Config{WireGuard: managed()}}.machine(t))
}

func TestRoutingAloneKeepsTrafficInTheTunnel(t *testing.T) {
	t.Parallel()
	plan := sample{config: netconfig.Config{WireGuard: managed()}}.plan(t)
	plan.Routes = nil // the interface is gone
	for _, to := range []string{"198.51.100.1", "203.0.113.1", "192.0.2.1"} {
		if got := route(plan, packet{in: "svbr0", to: ip(to)}); got != "unreachable" {
			t.Errorf("%s: %s, want unreachable", to, got)
		}
	}
	if got := route(plan, packet{in: "lo", to: server}); got != "eth0" {
		t.Errorf("the encrypted packets of the host: %s, want eth0", got)
	}
}

func TestTunnelThatFailsOpenLeavesTheRestToTheHost(t *testing.T) {
	t.Parallel()
	w := managed()
	w.FailOpen = true
	journeys{
		"what is behind it": {packet{in: "svbr0", from: web, to: server, proto: tcp, port: 443}, "svwg0 to 198.51.100.1:443, masqueraded"},
		"what is not":       {packet{in: "svbr0", from: web, to: ip("203.0.113.1"), proto: tcp, port: 443}, "eth0 to 203.0.113.1:443, masqueraded"},
	}.check(t, sample{config: netconfig.Config{WireGuard: w}}.machine(t))
}

func TestTunnelIsRoutedByInterface(t *testing.T) {
	t.Parallel()
	rules := []netplan.RoutingRule{
		{Priority: 70, InIface: "svbr0", Mark: netplan.MarkReply, Table: 254},
		{Priority: 80, InIface: "svbr0", Table: 51820},
		{Priority: 90, InIface: "svbr0", Unreachable: true},
	}
	subnet := netplan.Route{Table: 51820, To: prefix("172.30.0.0/24"), Iface: "svbr0"}
	existing := netconfig.WireGuard{Existing: "wg0"}
	tests := map[string]struct {
		wireGuard *netconfig.WireGuard
		change    func(*netconfig.WireGuard)
		rules     []netplan.RoutingRule
		routes    []netplan.Route
	}{
		"managed": {managed(), nil, rules, []netplan.Route{
			subnet, {51820, prefix("10.8.0.0/24"), "svwg0"}, {51820, prefix("198.51.100.0/24"), "svwg0"},
		}},
		"existing": {&existing, nil, rules, []netplan.Route{subnet, {51820, prefix("0.0.0.0/0"), "wg0"}}},
		"another table": {
			managed(), func(w *netconfig.WireGuard) { w.RouteTable, w.FailOpen = 7, true },
			[]netplan.RoutingRule{rules[0], {Priority: 80, InIface: "svbr0", Table: 7}},
			[]netplan.Route{
				{7, subnet.To, "svbr0"}, {7, prefix("10.8.0.0/24"), "svwg0"}, {7, prefix("198.51.100.0/24"), "svwg0"},
			},
		},
		"only made": {managed(), func(w *netconfig.WireGuard) { w.KeepDefaultRoute = true }, nil, nil},
		"none":      {nil, nil, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.change != nil {
				tt.change(tt.wireGuard)
			}
			plan := sample{config: netconfig.Config{WireGuard: tt.wireGuard}}.plan(t)
			if diff := gocmp.Diff(tt.rules, plan.Rules); diff != "" {
				t.Error(diff)
			}
			if diff := gocmp.Diff(tt.routes, plan.Routes, gocmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			if tt.wireGuard == nil {
				return
			}
			loose := slices.ContainsFunc(plan.Sysctls, func(s netplan.Sysctl) bool {
				return s.Path == "net/ipv4/conf/"+tt.wireGuard.Name()+"/rp_filter" && s.Value == "2" &&
					s.Host == (tt.wireGuard.Existing != "")
			})
			if loose != (tt.rules != nil) {
				t.Errorf("loose reverse path filter: %t", loose)
			}
		})
	}
}

func TestTextHasNoSecret(t *testing.T) {
	t.Parallel()
	text := sample{config: netconfig.Config{WireGuard: managed()}}.plan(t).Text()
	for _, secret := range []netconfig.Key{{1, 2, 3}, {7, 8, 9}} {
		if strings.Contains(text, secret.PublicText()) {
			t.Error("a secret key is in the text")
		}
	}
	if !strings.Contains(text, netconfig.Key{4, 5, 6}.PublicText()) {
		t.Error("the peer's public key is not in the text")
	}
}

func TestWithoutAWorkingTunnelThePlanSaysSo(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*netplan.Facts)
		want   string
	}{
		"no interface":     {func(f *netplan.Facts) { f.WireGuardMTU = 0 }, "there is no WireGuard interface wg0"},
		"no default route": {func(f *netplan.Facts) { f.Uplink, f.WireGuardMTU = "", 1420 }, "no default route"},
		"resolvers":        {func(f *netplan.Facts) { f.WireGuardMTU = 1420 }, "ask the host's resolvers through the tunnel"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := sample{config: netconfig.Config{WireGuard: &netconfig.WireGuard{Existing: "wg0"}}, facts: tt.change}.plan(t)
			if !strings.Contains(strings.Join(plan.Warnings, "\n"), tt.want) {
				t.Errorf("warnings %q, want %q", plan.Warnings, tt.want)
			}
		})
	}
}
