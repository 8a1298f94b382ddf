package netconfig_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

func TestNetworkFileIsReadAsJSONAndYAML(t *testing.T) {
	t.Parallel()
	want := &netconfig.Config{
		Bridge: "svbr1", Subnet: netip.MustParsePrefix("172.31.0.0/24"), MTU: 1400, AllowPeers: true,
		DNS:       []netip.Addr{netip.MustParseAddr("1.1.1.1")},
		AllowHost: []netconfig.HostPort{{Port: 53, Protocol: netconfig.UDP}},
		Egress:    &netconfig.Policy{Default: netconfig.Deny},
		WireGuard: &netconfig.WireGuard{Existing: "wg0"},
	}
	for _, text := range []string{
		"bridge: svbr1\nsubnet: 172.31.0.0/24\nmtu: 1400\nallow_peers: true\ndns: [1.1.1.1]\n" +
			"allow_host: [{port: 53, protocol: udp}]\negress: {default: deny}\nwireguard: {existing: wg0}\n",
		`{"bridge":"svbr1","subnet":"172.31.0.0/24","mtu":1400,"allow_peers":true,"dns":["1.1.1.1"],` +
			`"allow_host":[{"port":53,"protocol":"udp"}],"egress":{"default":"deny"},"wireguard":{"existing":"wg0"}}`,
	} {
		got, err := netconfig.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestNetworkFileNamesEveryMistake(t *testing.T) {
	t.Parallel()
	_, err := netconfig.Parse([]byte("bridg: svbr1\nallow_peers: null\negress: {defalt: deny}\n"))
	if !errors.Is(err, errcode.InvalidConfig) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"bridg", "did you mean", "allow_peers", "egress.defalt"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("bridge: svbr1\nsubnet: 172.31.0.0/24\n"))
	f.Add([]byte(`{"egress":{"rules":[{"action":"deny","to":"10.0.0.0/8","ports":[80]}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := netconfig.Parse(data)
		if err == nil && c.Validate() != nil {
			t.Error("accepts what Validate refuses")
		}
	})
}
