package netconfig_test

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

// The keys of the example in wg(8).
const (
	privateKey = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
	peerKey    = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
	otherKey   = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
)

func key(tb testing.TB, text string) netconfig.Key {
	tb.Helper()
	k, err := netconfig.ParseKey(text)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

const everything = "\ufeff# a tunnel\r\n" + `
[INTERFACE]
privatekey = ` + privateKey + `   # a comment
Address = 10.9.0.2/24, fd00::2/64
Address=10.9.1.2
ListenPort = 51820
FwMark = 0xCA6C
MTU = 1380
DNS = 1.1.1.1, example.net
Table = off

[Peer]
PublicKey = ` + peerKey + `
PresharedKey = ` + otherKey + `
Endpoint = vpn.example.net:51820
AllowedIPs = 10.7.7.7/8, ::/0
AllowedIPs = 192.0.2.7
PersistentKeepalive = 25
[Peer]
PublicKey = ` + otherKey + `
AllowedIPs = 0.0.0.0/0,10.0.0.0/8
Endpoint = [2001:db8::1]:443
PersistentKeepalive = off
`

func TestParseWireGuardReadsEveryKey(t *testing.T) {
	t.Parallel()
	got, warnings, err := netconfig.ParseWireGuard([]byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	want := &netconfig.Tunnel{
		PrivateKey: key(t, privateKey), ListenPort: 51820, Mark: 0xca6c, MTU: 1380,
		Addresses: []netip.Prefix{prefix("10.9.0.2/24"), prefix("10.9.1.2/32")},
		Peers: []netconfig.Peer{{
			PublicKey: key(t, peerKey), PresharedKey: key(t, otherKey), Endpoint: "vpn.example.net:51820",
			AllowedIPs: []netip.Prefix{prefix("10.0.0.0/8"), prefix("192.0.2.7/32")}, Keepalive: 25 * time.Second,
		}, {
			PublicKey: key(t, otherKey), Endpoint: "[2001:db8::1]:443",
			AllowedIPs: []netip.Prefix{prefix("0.0.0.0/0"), prefix("10.0.0.0/8")},
		}},
	}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantWarnings := []string{
		"line 5: Address leaves out an IPv6 prefix: guests' traffic is IPv4",
		"line 10: DNS is ignored: guests have the resolvers of their network",
		"line 11: Table is ignored: the network has a routing table of its own",
		"line 17: AllowedIPs leaves out an IPv6 prefix: guests' traffic is IPv4",
		"10.0.0.0/8 is of peers[0] and peers[1], and WireGuard gives it to the last one only",
	}
	if diff := cmp.Diff(wantWarnings, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

// file returns a valid one, with more lines in both sections: the first of iface is
// line 4, and the first of peer line 8, if iface is one line.
func file(iface, peer string) string {
	return "[Interface]\nPrivateKey = " + privateKey + "\nAddress = 10.9.0.2/32\n" + iface +
		"\n[Peer]\nPublicKey = " + peerKey + "\nAllowedIPs = 0.0.0.0/0\n" + peer + "\n"
}

func TestParseWireGuardRefusesWithLines(t *testing.T) {
	t.Parallel()
	const noInterface = "[Peer]\nPublicKey = " + peerKey + "\nAllowedIPs = 0.0.0.0/0\n"
	tests := []struct{ text, want string }{
		{"", "there is no [Interface]\n"},
		{noInterface, "there is no [Interface]\n"},
		{"[Interface]\n", "private_key: is required (line 1)\naddresses: needs at least one IPv4 address (line 1)\npeers: needs at least one peer\n"},
		{file("", "[Peer]\n"), "peers[1].public_key: is required (line 8)\npeers[1].allowed_ips: needs at least one IPv4 prefix (line 8)\n"},
		{"PrivateKey = x\n", "is before the first section (line 1)\n"},
		{file("what\n", ""), "want KEY = VALUE (line 4)\n"},
		{file("[Interface]", ""), "there is an [Interface] already (line 4)\n"},
		{file("[Wat]", ""), "is neither [Interface] nor [Peer] (line 4)\n"},
		{file("PostUp = iptables -A FORWARD", ""), "PostUp is refused: commands of a file are not run (line 4)\n"},
		{file("preup = x\nPREDOWN = x\nPostDown = x\nSaveConfig = false", ""), "PreUp is refused: commands of a file are not run (line 4)\nPreDown is refused: commands of a file are not run (line 5)\nPostDown is refused: commands of a file are not run (line 6)\nSaveConfig is refused: the file is never written (line 7)\n"},
		{file("Addr = 10.0.0.1", ""), "unknown key, did you mean \"Address\"? (line 4)\n"},
		{file("Jc = 4", ""), "unknown key (line 4)\n"},
		{file("Endpoint = 192.0.2.1:1", "MTU = 1400"), "Endpoint belongs to the other kind of section (line 4)\nMTU belongs to the other kind of section (line 8)\n"},
		{file("PrivateKey = "+otherKey, ""), "PrivateKey is set twice (line 4)\n"},
		{file("MTU =", ""), "MTU has no value (line 4)\n"},
		{file("MTU = 575\nListenPort = 65536", ""), "listen_port: 65536 is not in 0..65535 (line 5)\nmtu: 575 is not in 576..65521 (line 4)\n"},
		{file("MTU = 9999999999\nListenPort = 99999999999", ""), "listen_port: is not a number (line 5)\n"},
		{file("MTU = -1\nListenPort = 0x50", ""), "mtu: is not a number (line 4)\nlisten_port: is not a number (line 5)\n"},
		{file("FwMark = 4294967296", ""), "mark: is not a mark: want a number of 32 bits such as 51820 or 0xca6c, or off (line 4)\n"},
		{file("FwMark = -1", ""), "mark: is not a mark: want a number of 32 bits such as 51820 or 0xca6c, or off (line 4)\n"},
		{file("Address = 10.0.0.1/33,", ""), "addresses[1]: want an address or a prefix such as 10.0.0.2/32 (line 4)\naddresses[1]: want an address or a prefix such as 10.0.0.2/32 (line 4)\n"},
		{file("Address = fe80::1%eth0", ""), "addresses[1]: want an address or a prefix such as 10.0.0.2/32 (line 4)\n"},
		{file("Address = 127.0.0.1/8", ""), "addresses[1]: 127.0.0.1/8 can't be the address of an interface (line 4)\n"},
		{file("", "PublicKey = "+peerKey), "PublicKey is set twice (line 8)\n"},
		{file("", "[Peer]\nPublicKey = "+peerKey+"\nAllowedIPs = 10.0.0.0/8"), "peers[1].public_key: is the same as that of peers[0] (line 9)\n"},
		{file("", "[Peer]\nPublicKey = "+key(t, privateKey).Public().PublicText()+"\nAllowedIPs = 10.0.0.0/8"), "peers[1].public_key: is this tunnel's own: want that of the other end (line 9)\n"},
		{file("", "[Peer]\nPublicKey = short\nAllowedIPs = 10.0.0.0/8"), "peers[1].public_key: is not a key: want 32 bytes in base64, 44 characters (line 9)\n"},
		{file("", "[Peer]\nPublicKey = "+otherKey+"\nAllowedIPs = ::/0"), "peers[1].allowed_ips: needs at least one IPv4 prefix (line 8)\n"},
		{file("", "PresharedKey = x"), "peers[0].preshared_key: is not a key: want 32 bytes in base64, 44 characters (line 8)\n"},
		{file("", "PersistentKeepalive = 65536"), "peers[0].keepalive: is not a number of seconds in 0..65535, or off (line 8)\n"},
		{file("", "PersistentKeepalive = 25s"), "peers[0].keepalive: is not a number of seconds in 0..65535, or off (line 8)\n"},
		{strings.Repeat("#\n", 200_000), "has 400000 bytes, at most 262144 are allowed\n"},
		{file("# "+strings.Repeat("x", 17_000), ""), "has 17003 bytes, at most 16384 are allowed (line 4)\n"},
		{file("", strings.Repeat("[Peer]\n", 1024)), "peers: has 1025 peers, at most 1024 are allowed\n"},
	}
	for _, tt := range tests {
		got, _, err := netconfig.ParseWireGuard([]byte(tt.text))
		if err == nil {
			t.Errorf("%.300q: accepted as %v", tt.text, got)
			continue
		}
		if diff := cmp.Diff(tt.want, mistakes(t, err, errcode.InvalidWireGuardConfig)); diff != "" {
			t.Errorf("%.300q (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestParseWireGuardGivesUpAfterOneHundredMistakes(t *testing.T) {
	t.Parallel()
	_, _, err := netconfig.ParseWireGuard([]byte(strings.Repeat("x\n", 1000)))
	if n := strings.Count(mistakes(t, err, errcode.InvalidWireGuardConfig), "\n"); n != 100 {
		t.Errorf("got %d mistakes, want 100", n)
	}
}

func TestParseWireGuardTakesTheLimits(t *testing.T) {
	t.Parallel()
	text := file("ListenPort = 0\nFwMark = off\nMTU = 65521", "PersistentKeepalive = 0")
	for i := range netconfig.MaxPeers - 1 {
		raw := [32]byte{byte(i), byte(i >> 8), 1}
		text += fmt.Sprintf("[Peer]\nPublicKey=%s\nAllowedIPs=10.%d.%d.0/24\nPersistentKeepalive=65535\n", base64.StdEncoding.EncodeToString(raw[:]), i>>8, i&255)
	}
	got, warnings, err := netconfig.ParseWireGuard([]byte(text))
	if err != nil || len(warnings) != 0 || len(got.Peers) != netconfig.MaxPeers || got.Peers[1].Keepalive != math.MaxUint16*time.Second {
		t.Errorf("got %v, %q", err, warnings)
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"192.0.2.1:51820": true, "vpn.example.net:1": true, "vpn_1:65535": true, "[2001:db8::1]:51820": true, "[fe80::1%eth0]:51820": true, "a.b.:80": true,
		"192.0.2.1": false, "192.0.2.1:": false, "192.0.2.1:0": false, "192.0.2.1:65536": false, ":51820": false, "vpn.example.net:http": false,
		"2001:db8::1:51820": false, "[2001:db8::1]": false, "[2001:db8::1]:0": false, "[]:51820": false, "[x]:1": false,
		"-a:80": false, "a b:80": false, "a/b:80": false, "é:80": false, strings.Repeat("a", 254) + ":80": false,
		strings.Repeat("a", 253) + ":80": true, privateKey + ":80": false, "[fe80::1%" + privateKey + "]:80": false,
	} {
		c := tunnel()
		c.Peers[0].Endpoint = text
		err := c.Validate()
		if got := err == nil; got != want {
			t.Errorf("%s: got %v, want valid = %t", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), privateKey) {
			t.Errorf("%v shows a key", err)
		}
	}
}

func TestWireGuardIsOneInterface(t *testing.T) {
	t.Parallel()
	tests := []struct {
		wg   netconfig.WireGuard
		want string
	}{
		{netconfig.WireGuard{}, "wireguard: needs either an existing interface or a tunnel\n"},
		{netconfig.WireGuard{Existing: "wg0", Tunnel: tunnel()}, "wireguard: has both an existing interface and a tunnel, and can have one of them only\n"},
		{netconfig.WireGuard{Existing: "wg0", Interface: "wg1"}, "wireguard.interface: is for a tunnel that is made, and \"wg0\" exists\n"},
		{netconfig.WireGuard{Existing: "wg0", RouteTable: -1}, "wireguard.route_table: -1 is not in 1..4294967295\n"},
		{netconfig.WireGuard{Existing: "wg0", RouteTable: math.MaxUint32 + 1}, "wireguard.route_table: 4294967296 is not in 1..4294967295\n"},
		{netconfig.WireGuard{Existing: "wg0", RouteTable: 253}, "wireguard.route_table: 253 is a table of the host's own (default, main and local)\n"},
		{netconfig.WireGuard{Existing: "wg0", RouteTable: 255}, "wireguard.route_table: 255 is a table of the host's own (default, main and local)\n"},
		{netconfig.WireGuard{Tunnel: &netconfig.Tunnel{}}, "wireguard.tunnel.private_key: is required\nwireguard.tunnel.addresses: needs at least one IPv4 address\nwireguard.tunnel.peers: needs at least one peer\n"},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, mistakes(t, (&netconfig.Config{WireGuard: &tt.wg}).Validate(), errcode.InvalidWireGuardConfig)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for name, c := range map[string]netconfig.Config{
		"made":     {Bridge: "x", WireGuard: &netconfig.WireGuard{Tunnel: tunnel(), Interface: "x"}},
		"default":  {Bridge: "svwg0", WireGuard: &netconfig.WireGuard{Tunnel: tunnel()}},
		"existing": {WireGuard: &netconfig.WireGuard{Existing: "svbr0"}},
		"bad":      {WireGuard: &netconfig.WireGuard{Tunnel: tunnel(), Interface: "lo"}},
		"no name":  {WireGuard: &netconfig.WireGuard{Existing: "a/b"}},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			mistakes(t, err, errcode.InvalidInterfaceName)
		}
	}
}

func TestTunnelReportsEveryMistakeWithItsField(t *testing.T) {
	t.Parallel()
	c := &netconfig.Tunnel{
		PrivateKey: netconfig.Key{1}, ListenPort: -1, MTU: 65522,
		Addresses: []netip.Prefix{{}, prefix("fd00::1/64"), prefix("0.0.0.0/0"), prefix("224.0.0.1/32")},
		Peers: []netconfig.Peer{
			{PublicKey: netconfig.Key{1}.Public(), AllowedIPs: []netip.Prefix{{}, prefix("::/0")}},
			{PublicKey: netconfig.Key{2}, Endpoint: "x", Keepalive: -time.Second},
			{PublicKey: netconfig.Key{2}, Keepalive: 1500 * time.Millisecond, AllowedIPs: []netip.Prefix{prefix("0.0.0.0/0")}},
			{Keepalive: 65536 * time.Second, AllowedIPs: []netip.Prefix{prefix("0.0.0.0/0")}},
		},
	}
	want := `addresses[0]: is not a prefix
addresses[1]: fd00::1/64 is IPv6, and guests' traffic is IPv4
addresses[2]: 0.0.0.0/0 can't be the address of an interface
addresses[3]: 224.0.0.1/32 can't be the address of an interface
listen_port: -1 is not in 0..65535
mtu: 65522 is not in 576..65521
peers[0].public_key: is this tunnel's own: want that of the other end
peers[0].allowed_ips[0]: is not a prefix
peers[0].allowed_ips[1]: ::/0 is IPv6, and guests' traffic is IPv4
peers[1].endpoint: is not an endpoint: want HOST:PORT such as vpn.example.net:51820 or [2001:db8::1]:51820
peers[1].allowed_ips: needs at least one IPv4 prefix
peers[1].keepalive: -1s is not a number of whole seconds in 0..65535
peers[2].public_key: is the same as that of peers[1]
peers[2].keepalive: 1.5s is not a number of whole seconds in 0..65535
peers[3].public_key: is required
peers[3].keepalive: 18h12m16s is not a number of whole seconds in 0..65535
`
	if diff := cmp.Diff(want, mistakes(t, c.Validate(), errcode.InvalidWireGuardConfig)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
