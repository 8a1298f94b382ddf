package netlinux_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/nettest"
)

func TestFactsNameTheUplinkOfTheBestDefaultRoute(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		a := someLink(t, "eth0", "10.1.0.1/24", 1500).Attrs().Index
		b := someLink(t, "eth1", "10.2.0.1/24", 9000).Attrs().Index
		own := addBridge(t, h, "br0")
		via := func(link, metric, mtu int) *netlink.Route {
			return &netlink.Route{LinkIndex: link, Dst: ipNet("0.0.0.0/0"), Scope: netlink.SCOPE_LINK, Priority: metric, MTU: mtu}
		}
		both := &netlink.Route{Dst: ipNet("0.0.0.0/0"), Priority: 5, MultiPath: []*netlink.NexthopInfo{{LinkIndex: b}, {LinkIndex: a}}}
		check := func(uplink string, mtu int) {
			t.Helper()
			if f, err := h.Facts(t.Context(), "br0", ""); err != nil || f.Uplink != uplink || f.UplinkMTU != mtu {
				t.Errorf("uplink %q with %d, %v; want %q with %d", f.Uplink, f.UplinkMTU, err, uplink, mtu)
			}
		}
		check("", 0)
		for _, step := range []struct {
			add    *netlink.Route
			uplink string
			mtu    int
		}{
			{via(a, 200, 0), "eth0", 1500},
			{via(b, 300, 0), "eth0", 1500},
			{via(b, 100, 0), "eth1", 9000},
			{via(b, 50, 1450), "eth1", 1450},
			{both, "eth1", 1500},
			{via(own, 1, 0), "eth1", 1500},
			{&netlink.Route{Dst: ipNet("0.0.0.0/0"), Type: unix.RTN_UNREACHABLE, Priority: 2}, "eth1", 1500},
		} {
			must(t, netlink.RouteAdd(step.add))
			check(step.uplink, step.mtu)
		}
		// A table of somebody's own is not what the host itself uses.
		must(t, netlink.RouteDel(both))
		other := via(a, 0, 0)
		other.Table = 77
		must(t, netlink.RouteAdd(other))
		check("eth1", 1450)
	})
}

func TestFactsHaveTheRoutesOfOthers(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		a := someLink(t, "eth0", "10.1.0.1/24", 1500).Attrs().Index
		b := someLink(t, "eth1", "10.2.0.1/24", 9000).Attrs().Index
		addBridge(t, h, "br0")
		must(t, netlink.RouteAdd(&netlink.Route{Dst: ipNet("192.0.2.0/24"), MultiPath: []*netlink.NexthopInfo{{LinkIndex: a}, {LinkIndex: b}}}))
		must(t, netlink.RouteAdd(&netlink.Route{Dst: ipNet("198.51.100.0/24"), Type: unix.RTN_BLACKHOLE}))
		route := func(to, iface string) netplan.HostRoute {
			return netplan.HostRoute{To: netip.MustParsePrefix(to), Iface: iface}
		}
		for _, tt := range []struct {
			own  string
			want []netplan.HostRoute
		}{
			{"br0", []netplan.HostRoute{
				route("10.1.0.0/24", "eth0"), route("10.2.0.0/24", "eth1"),
				route("192.0.2.0/24", "eth0"), route("192.0.2.0/24", "eth1"),
			}},
			{"eth1", []netplan.HostRoute{
				route("10.1.0.0/24", "eth0"), route("172.30.0.0/24", "br0"), route("192.0.2.0/24", "eth0"),
			}},
		} {
			f, err := h.Facts(t.Context(), tt.own, "")
			must(t, err)
			slices.SortFunc(f.Routes, func(a, b netplan.HostRoute) int {
				return cmp.Or(a.To.Addr().Compare(b.To.Addr()), cmp.Compare(a.Iface, b.Iface))
			})
			if diff := gocmp.Diff(tt.want, f.Routes, gocmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("own %s: %s", tt.own, diff)
			}
		}
	})
}

func TestFactsHaveTheMTUOfAWireGuardInterface(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		someLink(t, "eth0", "", 1500)
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = "tun0", 1380
		must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN}))
		want := map[string]int{"tun0": look(t, "tun0").Attrs().MTU, "eth0": 0, "gone0": 0, "": 0}
		attrs.Name, attrs.MTU = "wg0", 1412
		if err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}); err == nil {
			want["wg0"] = 1412
		} else if !errors.Is(err, unix.EOPNOTSUPP) { // the kernel may lack it
			t.Fatal(err)
		}
		for name, mtu := range want {
			if f, err := h.Facts(t.Context(), "br0", name); err != nil || f.WireGuardMTU != mtu {
				t.Errorf("%q: %d, %v; want %d", name, f.WireGuardMTU, err, mtu)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Facts(ended, "br0", ""); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFactsLeaveOutResolversOfTheHostItself(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		conf := filepath.Join(t.TempDir(), "resolv.conf")
		must(t, os.WriteFile(conf, []byte("nameserver 10.1.0.1\nnameserver 10.1.0.53\n"), 0o600))
		target, err := filepath.EvalSymlinks("/etc/resolv.conf")
		if err != nil {
			t.Skip("this host has no resolv.conf to mount another one over: ", err)
		}
		must(t, unix.Mount(conf, target, "", unix.MS_BIND, ""))
		for _, want := range []string{"[10.1.0.1 10.1.0.53]", "[10.1.0.53]"} {
			f, err := h.Facts(t.Context(), "br0", "")
			if got := fmt.Sprint(f.Resolvers); err != nil || got != want {
				t.Errorf("got %s, %v; want %s", got, err, want)
			}
			if look(t, "eth0") == nil {
				someLink(t, "eth0", "10.1.0.1/24", 1500)
			}
		}
	})
}

func TestResolversAreThoseThatGuestsCanReach(t *testing.T) {
	t.Parallel()
	addrs := func(texts ...string) (all []netip.Addr) {
		for _, text := range texts {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	const absent = "absent"
	for _, tt := range []struct {
		name            string
		first, resolved string
		want            []netip.Addr
	}{
		{"usual", "# c\nsearch example.org\nnameserver 192.0.2.1\nnameserver\t192.0.2.2 # two\n", absent, addrs("192.0.2.1", "192.0.2.2")},
		{"systemd-resolved", "nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.9\nnameserver 2001:db8::1\n", addrs("192.0.2.9")},
		{"mixed", "nameserver 127.0.0.1\nnameserver 192.0.2.1", "nameserver 192.0.2.9\n", addrs("192.0.2.1")},
		{"local only", "nameserver 127.0.0.1\nnameserver ::1\nnameserver 0.0.0.0\n", absent, nil},
		{"of a bridge", "nameserver 192.0.2.100\nnameserver 192.0.2.1\n", absent, addrs("192.0.2.1")},
		{"its own only", "nameserver 192.0.2.100\n", "nameserver 192.0.2.100\nnameserver 192.0.2.9\n", addrs("192.0.2.9")},
		{"no file", absent, absent, nil},
		{
			"many", "nameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n", absent,
			addrs("192.0.2.1", "192.0.2.2", "192.0.2.3"),
		},
		{
			"nonsense", "nameserver example.org\nNAMESERVER 192.0.2.1\nxnameserver 192.0.2.1\n;nameserver 192.0.2.1\nnameserver ::ffff:192.0.2.5\r\nnameserver\n", absent,
			addrs("192.0.2.5"),
		},
	} {
		dir := t.TempDir()
		paths := []string{filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "resolved.conf")}
		for i, text := range []string{tt.first, tt.resolved} {
			if text != absent {
				must(t, os.WriteFile(paths[i], []byte(text), 0o600))
			}
		}
		got, err := netlinux.Resolvers(addrs("192.0.2.100"), paths...)
		if diff := gocmp.Diff(tt.want, got, gocmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || err != nil {
			t.Errorf("%s: %v %s", tt.name, err, diff)
		}
	}
}

func FuzzResolvers(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nnameserver ::1\n"))
	f.Add([]byte("nameserver"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, a := range netlinux.ParseResolvers(text) {
			if !a.Is4() {
				t.Errorf("%s is no IPv4 address", a)
			}
		}
	})
}
