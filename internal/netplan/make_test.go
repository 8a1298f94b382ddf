package netplan_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

func TestSubnetThatTheHostReachesOtherwiseIsRefused(t *testing.T) {
	t.Parallel()
	route := func(to, iface string) func(*netplan.Facts) {
		return func(f *netplan.Facts) {
			f.Routes = append(slices.Clone(f.Routes), netplan.HostRoute{To: prefix(to), Iface: iface})
		}
	}
	tunnel := func(change func(*netconfig.Tunnel)) netconfig.Config {
		w := managed()
		change(w.Tunnel)
		return netconfig.Config{WireGuard: w}
	}
	tests := map[string]struct {
		config netconfig.Config
		facts  func(*netplan.Facts)
		want   string // in the error, "" for none
		hint   string
	}{
		"none":     {netconfig.Config{}, nil, "", ""},
		"the same": {netconfig.Config{}, route("172.30.0.0/24", "eth1"), "172.30.0.0/24, which the host reaches through eth1", "172.30.1.0/24"},
		"a part":   {netconfig.Config{}, route("172.30.0.128/25", "eth1"), "172.30.0.128/25", "172.30.1.0/24"},
		"more":     {netconfig.Config{}, route("172.16.0.0/12", "eth1"), "172.16.0.0/12", "10.64.0.0/24"},
		"all private ones": {netconfig.Config{}, func(f *netplan.Facts) {
			route("172.16.0.0/12", "a")(f)
			route("10.0.0.0/8", "b")(f)
			route("192.168.0.0/16", "c")(f)
		}, "172.16.0.0/12", "choose another subnet)"},
		"large":                  {netconfig.Config{Subnet: prefix("172.0.0.0/8")}, route("172.17.0.0/16", "docker0"), "docker0", "10.0.0.0/8"},
		"the whole world":        {netconfig.Config{Subnet: prefix("128.0.0.0/2")}, route("172.17.0.0/16", "docker0"), "docker0", "choose another subnet)"},
		"by the own bridge":      {netconfig.Config{}, route("172.30.0.0/24", "svbr0"), "", ""},
		"another bridge of ours": {netconfig.Config{Bridge: "svbr1"}, route("172.30.0.0/24", "svbr0"), "svbr0", "172.30.1.0/24"},
		"a VPN for everything":   {netconfig.Config{}, func(f *netplan.Facts) { route("0.0.0.0/1", "tun0")(f); route("128.0.0.0/1", "tun0")(f) }, "", ""},
		"a neighbour":            {netconfig.Config{}, route("172.30.1.0/24", "eth1"), "", ""},
		"the tunnel's address":   {tunnel(func(w *netconfig.Tunnel) { w.Addresses = []netip.Prefix{prefix("172.30.0.7/32")} }), nil, "172.30.0.7/32, which the host reaches through svwg0", "172.30.1.0/24"},
		"a peer's network":       {tunnel(func(w *netconfig.Tunnel) { w.Peers[1].AllowedIPs = []netip.Prefix{prefix("172.30.0.9/24")} }), nil, "172.30.0.0/24, which the host reaches through svwg0", ""},
		"all behind the tunnel":  {tunnel(func(w *netconfig.Tunnel) { w.Peers[1].AllowedIPs = []netip.Prefix{prefix("172.16.0.0/12")} }), nil, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := facts
			if tt.facts != nil {
				tt.facts(&f)
			}
			_, err := netplan.Make(*tt.config.WithDefaults(), f, owner)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, errcode.InvalidSubnet) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.hint) {
				t.Errorf("got %v, want INVALID_SUBNET with %q and %q", err, tt.want, tt.hint)
			}
		})
	}
}

func TestMTUFitsThroughWhatGuestsTrafficTakes(t *testing.T) {
	t.Parallel()
	existing := &netconfig.WireGuard{Existing: "wg0"}
	kept := &netconfig.WireGuard{Existing: "wg0", KeepDefaultRoute: true}
	tests := map[string]struct {
		config            netconfig.Config
		uplink, wireGuard int
		want, tunnel      int
	}{
		"Ethernet":                   {netconfig.Config{}, 1500, 0, 1500, 0},
		"a cloud":                    {netconfig.Config{}, 1460, 0, 1460, 0},
		"jumbo frames":               {netconfig.Config{}, 9000, 0, 1500, 0},
		"no uplink":                  {netconfig.Config{}, 0, 0, 1500, 0},
		"as told":                    {netconfig.Config{MTU: 9000}, 1500, 0, 9000, 0},
		"an existing tunnel":         {netconfig.Config{WireGuard: existing}, 1500, 1380, 1380, 1380},
		"one that is not used":       {netconfig.Config{WireGuard: kept}, 1500, 1380, 1500, 1380},
		"one that is not there":      {netconfig.Config{WireGuard: existing}, 1500, 0, 1500, 0},
		"a tunnel":                   {netconfig.Config{WireGuard: managed()}, 1500, 0, 1420, 1420},
		"a tunnel in a cloud":        {netconfig.Config{WireGuard: managed()}, 1460, 0, 1380, 1380},
		"a tunnel over jumbo frames": {netconfig.Config{WireGuard: managed()}, 9000, 0, 1420, 1420},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := sample{config: tt.config, facts: func(f *netplan.Facts) { f.UplinkMTU, f.WireGuardMTU = tt.uplink, tt.wireGuard }}.plan(t)
			if plan.Bridge.MTU != tt.want {
				t.Errorf("MTU of the bridge %d, want %d", plan.Bridge.MTU, tt.want)
			}
			if plan.WireGuard != nil && plan.WireGuard.MTU != tt.tunnel {
				t.Errorf("MTU of the tunnel %d, want %d", plan.WireGuard.MTU, tt.tunnel)
			}
		})
	}
}

func TestGuestsAreToldOfResolversThatTheyReach(t *testing.T) {
	t.Parallel()
	resolvers := func(addrs ...string) func(*netplan.Facts) {
		return func(f *netplan.Facts) {
			f.Resolvers = nil
			for _, a := range addrs {
				f.Resolvers = append(f.Resolvers, ip(a))
			}
		}
	}
	given := func(addr string) netconfig.Config { return netconfig.Config{DNS: []netip.Addr{ip(addr)}} }
	deny := &netconfig.Policy{Default: netconfig.Deny, Rules: []netconfig.Rule{{Action: netconfig.Allow, To: destination("192.0.2.53/32")}}}
	with := func(c netconfig.Config, change func(*netconfig.Config)) netconfig.Config {
		change(&c)
		return c
	}
	tests := map[string]struct {
		config  netconfig.Config
		facts   func(*netplan.Facts)
		want    string
		warning string // "": none
	}{
		"those of the host": {netconfig.Config{}, resolvers("192.0.2.53", "192.0.2.54"), "192.0.2.53 192.0.2.54", ""},
		"but not of no use": {netconfig.Config{}, resolvers("127.0.0.53", "::1", "2001:db8::1", "169.254.169.254", "192.0.2.53"), "192.0.2.53", ""},
		"nor denied":        {netconfig.Config{Egress: deny}, resolvers("192.0.2.54", "192.0.2.53"), "192.0.2.53", ""},
		"link-local":        {netconfig.Config{AllowLinkLocal: true}, resolvers("169.254.169.254"), "169.254.169.254", ""},
		"none":              {netconfig.Config{}, resolvers("127.0.0.53"), "", "no resolver"},
		"given":             {given("198.51.100.1"), nil, "198.51.100.1", ""},
		"given, link-local": {given("169.254.169.254"), nil, "169.254.169.254", "link-local"},
		"given, denied":     {with(given("198.51.100.1"), func(c *netconfig.Config) { c.Egress = deny }), nil, "198.51.100.1", "policy denies"},
		"the gateway":       {given("172.30.0.1"), nil, "172.30.0.1", "it is the gateway"},
		"the gateway, open": {with(given("172.30.0.1"), func(c *netconfig.Config) {
			c.AllowHost = []netconfig.HostPort{{Protocol: netconfig.UDP, Port: 53}}
		}), nil, "172.30.0.1", ""},
		"a guest":       {given("172.30.0.2"), nil, "172.30.0.2", "among the guests"},
		"a guest, open": {with(given("172.30.0.2"), func(c *netconfig.Config) { c.AllowPeers = true }), nil, "172.30.0.2", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := sample{config: tt.config, facts: tt.facts}.plan(t)
			var got []string
			for _, addr := range plan.DNS {
				got = append(got, addr.String())
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("resolvers %v, want %s", got, tt.want)
			}
			if warnings := strings.Join(plan.Warnings, "\n"); !strings.Contains(warnings, tt.warning) || tt.warning == "" && warnings != "" {
				t.Errorf("warnings %q, want %q", warnings, tt.warning)
			}
		})
	}
}

func TestBarriersOfOthersLetTheNetworkPass(t *testing.T) {
	t.Parallel()
	barrier := netplan.Barrier{Family: ruleset.IP, Table: "filter", Chain: "FORWARD", Why: "policy drop"}
	plan := sample{facts: func(f *netplan.Facts) { f.Barriers, f.LegacyTables = []netplan.Barrier{barrier}, true }}.plan(t)
	if len(plan.Accepts) != 1 || plan.Accepts[0].Barrier != barrier {
		t.Fatalf("accepts %v, want one in %v", plan.Accepts, barrier)
	}
	var rules []string
	for _, r := range plan.Accepts[0].Rules {
		rules = append(rules, r.String())
	}
	want := []string{`iifname "svbr0" accept`, `oifname "svbr0" ct state established,related accept`, `oifname "svbr0" ct status dnat accept`}
	if !slices.Equal(rules, want) {
		t.Errorf("rules %q, want %q", rules, want)
	}
	if !strings.Contains(strings.Join(plan.Warnings, "\n"), "iptables-legacy -I FORWARD -i svbr0 -j ACCEPT;") {
		t.Errorf("warnings %q, want the command", plan.Warnings)
	}
}

func TestTablesSayWhoseTheyAre(t *testing.T) {
	t.Parallel()
	plan := sample{}.plan(t)
	switched := *plan
	switched.TurnedForwardingOn = true
	for _, tt := range []struct {
		plan *netplan.Plan
		want string
	}{
		{plan, "smartvm 0123456789ab svbr0 /run/smartvm"},
		{switched.With(nil), "smartvm 0123456789ab svbr0 /run/smartvm forwarding=0"},
	} {
		for _, table := range tt.plan.Tables {
			if table.Name != "smartvm-svbr0" || table.Comment != tt.want {
				t.Errorf("table %s %q, want smartvm-svbr0 %q", table.Name, table.Comment, tt.want)
			}
		}
	}
}

func TestPlanSharesNothingWithItsConfig(t *testing.T) {
	t.Parallel()
	config := *new(netconfig.Config).WithDefaults()
	config.DNS = []netip.Addr{ip("198.51.100.1")}
	config.Egress = disjoint(1)
	plan, err := netplan.Make(config, facts, owner)
	if err != nil {
		t.Fatal(err)
	}
	before := plan.With(nil).Text()
	config.DNS[0], config.Egress.Rules[0].Action = ip("198.51.100.2"), netconfig.Deny
	plan.With(samples()["policy"].guests) // leaves no trace either
	if after := plan.With(nil).Text(); after != before {
		t.Errorf("the plan has changed:\n%s", after)
	}
}

func TestPolicyWithManyLayersIsWarnedOf(t *testing.T) {
	t.Parallel()
	policy := &netconfig.Policy{}
	for i := range 20 {
		ports := []netconfig.PortRange{{First: 1, Last: uint16(i + 1)}}
		policy.Rules = append(policy.Rules, netconfig.Rule{Action: netconfig.Deny, Protocol: netconfig.TCP, Ports: ports})
	}
	plan := sample{config: netconfig.Config{Egress: policy}}.plan(t)
	if want := "looked up in 21 sets"; !strings.Contains(strings.Join(plan.Warnings, "\n"), want) {
		t.Errorf("warnings %q, want %q", plan.Warnings, want)
	}
}
