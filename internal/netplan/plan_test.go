package netplan_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

var (
	owner = netplan.Owner{ID: "0123456789ab", Dir: "/run/smartvm"}
	facts = netplan.Facts{
		Uplink: "eth0", UplinkMTU: 1500,
		Routes: []netplan.HostRoute{
			{To: netip.MustParsePrefix("0.0.0.0/0"), Iface: "eth0"},
			{To: netip.MustParsePrefix("192.0.2.0/24"), Iface: "eth0"},
		},
		Resolvers: []netip.Addr{netip.MustParseAddr("192.0.2.53")},
	}
)

// sample is a plan with guests on it.
type sample struct {
	config netconfig.Config
	facts  func(*netplan.Facts)
	guests []netplan.Guest
}

func samples() map[string]sample {
	web := netplan.Guest{
		TAP: "svtaaaaaaaa", MAC: netplan.HardwareAddr{2, 0, 0, 0, 0, 2}, Addr: netip.MustParseAddr("172.30.0.2"),
		VM: "web", Iface: "eth0",
		Egress: &netconfig.Policy{Default: netconfig.Deny, LogDefault: true, Rules: []netconfig.Rule{
			{Action: netconfig.Allow, To: destination("198.51.100.0/24")},
		}},
		Forwards: []netconfig.Forward{
			{HostPort: 8080, GuestPort: 80},
			{HostIP: netip.MustParseAddr("0.0.0.0"), HostPort: 8443, GuestPort: 443},
			{HostIP: netip.MustParseAddr("192.0.2.7"), HostPort: 53, GuestPort: 5353, Protocol: netconfig.UDP},
		},
	}
	job := netplan.Guest{
		TAP: "svtbbbbbbbb", MAC: netplan.HardwareAddr{2, 0, 0, 0, 0, 3}, Addr: netip.MustParseAddr("172.30.0.3"),
		VM: "job", Iface: "eth0",
	}
	// Two clones of job, on its own network and on another.
	inside := netplan.Inside{TAP: "tap0", MAC: job.MAC, Addr: job.Addr, Gateway: netip.MustParseAddr("172.30.0.1"), GatewayMAC: netplan.BridgeAddr(owner.Mark("svbr0"))}
	near := netplan.Guest{
		TAP: "svtcccccccc", MAC: netplan.HardwareAddr{2, 0, 0, 0, 0, 4}, Addr: netip.MustParseAddr("172.30.0.4"), VM: "near", Iface: "eth0",
		Egress: web.Egress, Forwards: []netconfig.Forward{{HostPort: 8081, GuestPort: 80}}, Inside: &inside,
	}
	far := netplan.Guest{
		TAP: "svtdddddddd", MAC: netplan.HardwareAddr{2, 0, 0, 0, 0, 5}, Addr: netip.MustParseAddr("10.7.0.5"), VM: "far", Iface: "eth0", Inside: &inside,
	}
	policy := &netconfig.Policy{Default: netconfig.Deny, Rules: []netconfig.Rule{
		{Action: netconfig.Deny, To: destination("10.0.0.0/8"), Log: true, Comment: "the office"},
		{Action: netconfig.Allow, To: destination("10.1.2.3/32"), Protocol: netconfig.TCP, Ports: []netconfig.PortRange{{First: 443, Last: 443}}},
		{Action: netconfig.Allow, Protocol: netconfig.TCP, Ports: []netconfig.PortRange{{First: 80, Last: 80}, {First: 443, Last: 443}, {First: 8000, Last: 8100}}},
		{Action: netconfig.Allow, To: destination("192.0.2.53/32"), Protocol: netconfig.UDP, Ports: []netconfig.PortRange{{First: 53, Last: 53}}},
		{Action: netconfig.Allow, Protocol: netconfig.ICMP},
	}}
	return map[string]sample{
		"default":    {},
		"policy":     {config: netconfig.Config{Egress: policy}, guests: []netplan.Guest{web, job}},
		"clone":      {guests: []netplan.Guest{job, near}},
		"clone-away": {config: netconfig.Config{Bridge: "svbr1", Subnet: prefix("10.7.0.0/16")}, guests: []netplan.Guest{far}},
		"managed":    {config: netconfig.Config{WireGuard: managed(), DNS: []netip.Addr{ip("198.51.100.53")}}, guests: []netplan.Guest{job}},
		"existing": {
			config: netconfig.Config{WireGuard: &netconfig.WireGuard{Existing: "wg0", FailOpen: true}},
			facts:  func(f *netplan.Facts) { f.WireGuardMTU = 1380 },
		},
		"barrier": {
			config: netconfig.Config{
				Bridge: "svbr1", Subnet: prefix("10.7.0.0/16"), AllowPeers: true, AllowLinkLocal: true,
				AllowHost: []netconfig.HostPort{{Port: 8080}, {Protocol: netconfig.UDP, Port: 53}},
			},
			facts: func(f *netplan.Facts) {
				f.LegacyTables = true
				f.Barriers = []netplan.Barrier{
					{Family: ruleset.IP, Table: "filter", Chain: "FORWARD", Why: "policy drop"},
					{Family: ruleset.Inet, Table: "firewalld", Chain: "filter_FORWARD", Why: "reject at its end"},
				}
			},
		},
	}
}

func destination(prefix string) netconfig.Destination {
	return netconfig.Destination{Prefix: netip.MustParsePrefix(prefix)}
}

func (s sample) plan(t *testing.T) *netplan.Plan {
	t.Helper()
	f := facts
	if s.facts != nil {
		s.facts(&f)
	}
	p, err := netplan.Make(*s.config.WithDefaults(), f, owner)
	if err != nil {
		t.Fatal(err)
	}
	return p.With(s.guests)
}

func TestTextIsThePlanForPeople(t *testing.T) {
	t.Parallel()
	for name, s := range samples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name+".txt", s.plan(t).Text())
		})
	}
}

// The kernel's judgement, by way of nft: every name, type and hook is right.
func TestKernelTakesTheTables(t *testing.T) {
	hosttest.Need(t, hosttest.Root, hosttest.Tool("nft"), hosttest.Tool("ip"))
	for name, s := range samples() {
		t.Run(name, func(t *testing.T) {
			hosttest.Isolate(t)
			for _, g := range s.guests {
				run(t, "", "ip", "tuntap", "add", "dev", g.TAP, "mode", "tap")
			}
			plan := s.plan(t)
			tables := plan.Tables
			for _, g := range s.guests {
				if g.Inside != nil {
					run(t, "", "ip", "tuntap", "add", "dev", g.Inside.TAP, "mode", "tap")
					run(t, "", "ip", "tuntap", "add", "dev", g.WireEnd(), "mode", "tap")
					tables = append(tables, netplan.Translation(g, plan.Bridge.Addr.Addr(), netplan.BridgeAddr(plan.Mark)))
				}
			}
			for _, a := range plan.Accepts {
				chain := ruleset.Chain{Name: a.Chain, Rules: a.Rules}
				tables = append(tables, ruleset.Table{Family: a.Family, Name: a.Table, Chains: []ruleset.Chain{chain}})
			}
			run(t, text(tables), "nft", "-c", "-f", "-")
			run(t, text(tables), "nft", "-f", "-")
		})
	}
}

func run(t *testing.T, input, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s\n%s", cmd, err, out, input)
	}
}

// golden compares got with a file of testdata; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }
