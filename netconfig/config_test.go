package netconfig_test

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

// values lets cmp see inside what has unexported fields.
var values = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netconfig.Destination{}, netconfig.Key{})}

// emptyIsNil is for lists that are left out of JSON when they are empty.
var emptyIsNil = cmpopts.EquateEmpty()

func TestZeroConfigIsTheDefaultNetwork(t *testing.T) {
	t.Parallel()
	var c netconfig.Config
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	want := &netconfig.Config{Bridge: "svbr0", Subnet: prefix("172.30.0.0/24")}
	if diff := cmp.Diff(want, c.WithDefaults(), values); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := c.Gateway(); got != addr("172.30.0.1") {
		t.Errorf("gateway = %v", got)
	}
}

func TestDefaultsAreWrittenOutInNormalForm(t *testing.T) {
	t.Parallel()
	c := &netconfig.Config{
		Subnet:    prefix("10.1.2.3/16"),
		AllowHost: []netconfig.HostPort{{Port: 53, Protocol: netconfig.UDP}, {Port: 80}},
		Egress: &netconfig.Policy{Rules: []netconfig.Rule{
			{Action: netconfig.Deny, To: to("10.0.0.1/8")},
			{
				Action: netconfig.Allow, To: to("0.0.0.0/0"), Protocol: netconfig.TCP,
				Ports: []netconfig.PortRange{{First: 65535, Last: 65535}, {First: 90, Last: 100}, {First: 80, Last: 89}, {First: 95, Last: 99}, {First: 102, Last: 103}},
			},
		}},
		WireGuard: &netconfig.WireGuard{Tunnel: &netconfig.Tunnel{Peers: []netconfig.Peer{{AllowedIPs: []netip.Prefix{prefix("10.1.1.1/8")}}}}},
	}
	want := &netconfig.Config{
		Bridge: "svbr0", Subnet: prefix("10.1.0.0/16"),
		AllowHost: []netconfig.HostPort{{Port: 53, Protocol: netconfig.UDP}, {Port: 80, Protocol: netconfig.TCP}},
		Egress: &netconfig.Policy{Default: netconfig.Allow, Rules: []netconfig.Rule{
			{Action: netconfig.Deny, To: to("10.0.0.0/8"), Protocol: netconfig.All},
			{
				Action: netconfig.Allow, Protocol: netconfig.TCP,
				Ports: []netconfig.PortRange{{First: 80, Last: 100}, {First: 102, Last: 103}, {First: 65535, Last: 65535}},
			},
		}},
		WireGuard: &netconfig.WireGuard{
			Interface: "svwg0", RouteTable: 51820,
			Tunnel: &netconfig.Tunnel{Peers: []netconfig.Peer{{AllowedIPs: []netip.Prefix{prefix("10.0.0.0/8")}}}},
		},
	}
	before := c.Clone()
	got := c.WithDefaults()
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, c, values); diff != "" {
		t.Errorf("the original has changed (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(got, got.WithDefaults(), values); diff != "" {
		t.Errorf("a second time makes a difference:\n%s", diff)
	}
	existing := (&netconfig.Config{WireGuard: &netconfig.WireGuard{Existing: "wg0"}}).WithDefaults()
	if existing.WireGuard.Interface != "" || existing.Validate() != nil {
		t.Errorf("defaults beside an existing interface: %+v, %v", existing.WireGuard, existing.Validate())
	}
}

func TestValidateReportsEveryMistakeWithItsField(t *testing.T) {
	t.Parallel()
	c := &netconfig.Config{
		Bridge: "a/b",
		Subnet: prefix("10.0.0.0/31"),
		MTU:    575,
		DNS:    []netip.Addr{{}, addr("::1"), addr("127.0.0.53"), addr("224.0.0.1")},
		Egress: &netconfig.Policy{Rules: []netconfig.Rule{{}}},
		AllowHost: []netconfig.HostPort{
			{}, {Port: 1, Protocol: netconfig.ICMP}, {Port: 80}, {Port: 80, Protocol: netconfig.TCP}, {Port: 80, Protocol: netconfig.UDP},
		},
		WireGuard: &netconfig.WireGuard{RouteTable: 254},
	}
	want := `bridge: "a/b" can't be the name of an interface
subnet: 10.0.0.0/31 has a prefix of /31, want /1 to /30: choose one with a prefix of /1 to /30, such as 172.30.0.0/24
mtu: 575 is not in 576..65521
dns: has 4 resolvers, at most 3 are allowed
dns[0]: invalid IP is not an IPv4 address
dns[1]: ::1 is not an IPv4 address
dns[2]: 127.0.0.53 is the guest itself: want a resolver that guests can reach
dns[3]: 224.0.0.1 is not the address of a resolver
egress.rules[0].action: is required: allow or deny
allow_host[0].port: 0 is not in 1..65535
allow_host[1].protocol: "icmp" is not one of tcp, udp
allow_host[3]: is the same as allow_host[2]
wireguard: needs either an existing interface or a tunnel
wireguard.route_table: 254 is a table of the host's own (default, main and local)
`
	if diff := cmp.Diff(want, mistakes(t, c.Validate(), errcode.InvalidInterfaceName)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestValidateHasTheCodeOfTheFirstMistake(t *testing.T) {
	t.Parallel()
	policy := &netconfig.Policy{Default: "drop"}
	tests := []struct {
		config netconfig.Config
		want   errcode.Code
	}{
		{netconfig.Config{Bridge: "..", Egress: policy}, errcode.InvalidInterfaceName},
		{netconfig.Config{Subnet: prefix("127.0.0.0/16"), MTU: 1}, errcode.InvalidSubnet},
		{netconfig.Config{Egress: policy, WireGuard: &netconfig.WireGuard{}}, errcode.InvalidFirewallConfig},
		{netconfig.Config{WireGuard: &netconfig.WireGuard{}}, errcode.InvalidWireGuardConfig},
		{netconfig.Config{WireGuard: &netconfig.WireGuard{Existing: "svbr0"}}, errcode.InvalidInterfaceName},
		{netconfig.Config{MTU: 65522, Egress: policy}, errcode.InvalidConfig},
	}
	for _, tt := range tests {
		mistakes(t, tt.config.Validate(), tt.want)
	}
}

func TestConfigAtItsLimitsIsValid(t *testing.T) {
	t.Parallel()
	for _, c := range []netconfig.Config{
		{Bridge: "abcdefghijklmno", MTU: netconfig.MinMTU, DNS: []netip.Addr{addr("1.1.1.1"), addr("9.9.9.9"), addr("10.0.0.1")}},
		{Bridge: "br_0.1-x", MTU: netconfig.MaxMTU, AllowHost: []netconfig.HostPort{{Port: 1}, {Port: 65535, Protocol: netconfig.UDP}}},
		{WireGuard: &netconfig.WireGuard{Existing: "wg0", RouteTable: 1, FailOpen: true}},
		{WireGuard: &netconfig.WireGuard{Existing: "utun*", RouteTable: math.MaxUint32, KeepDefaultRoute: true}},
		{WireGuard: &netconfig.WireGuard{Tunnel: tunnel(), Interface: "wg-guests", RouteTable: 252}},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// tunnel returns a valid one.
func tunnel() *netconfig.Tunnel {
	return &netconfig.Tunnel{
		PrivateKey: netconfig.Key{1}, Addresses: []netip.Prefix{prefix("10.9.0.2/32")}, MTU: 1420,
		Peers: []netconfig.Peer{{
			PublicKey: netconfig.Key{2}, Endpoint: "vpn.example.net:51820",
			AllowedIPs: []netip.Prefix{prefix("0.0.0.0/0")}, Keepalive: 25 * time.Second,
		}},
	}
}

func TestInterfaceNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		foreign, ours bool // can it be somebody else's, can it be that of the bridge
	}{
		{"svbr0", true, true},
		{"br-1.2_x", true, true},
		{"_x", true, true},
		{"wg*", true, false},
		{`a"b`, true, false},
		{"-x", true, false},
		{".x", true, false}, // a directory of ours could have that name
		{"lo", true, false},
		{"all", true, false},
		{"default", true, false},
		{strings.Repeat("x", 15), true, true},
		{strings.Repeat("x", 16), false, false},
		{".", false, false},
		{"..", false, false},
		{"a/b", false, false},
		{"a:b", false, false},
		{"tap%d", false, false},
		{"a b", false, false},
		{"a\n", false, false},
		{"\x00", false, false},
		{"é", false, false},
	}
	for _, tt := range tests {
		err := netconfig.CheckInterfaceName(tt.name)
		if got := err == nil; got != tt.foreign {
			t.Errorf("%q can be an interface: %t (%v), want %t", tt.name, got, err, tt.foreign)
		}
		err = (&netconfig.Config{Bridge: tt.name}).Validate()
		if got := err == nil; got != tt.ours {
			t.Errorf("%q can be a bridge: %t (%v), want %t", tt.name, got, err, tt.ours)
		}
		if err != nil {
			mistakes(t, err, errcode.InvalidInterfaceName)
		}
	}
	mistakes(t, netconfig.CheckInterfaceName(""), errcode.InvalidInterfaceName)
}
