package hostnet_test

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/netconfig"
)

const smartvmOfOthers = "smartvm 0123456789ab svbr0 /run/others"

// What others have that is in the way of a network, which code that has and which
// words.
var obstacles = []struct {
	name   string
	config netconfig.Config
	make   func(t *testing.T, s *ground)
	code   errcode.Code
	says   []string
}{
	{
		"a bridge of nobody's",
		netconfig.Config{},
		func(t *testing.T, s *ground) { t.Helper(); addLink(t, s, "svbr0", "") },
		errcode.BridgeSetupFailed,
		[]string{"smartvm has not made it", "another name"},
	},
	{
		"a bridge of another smartvm",
		netconfig.Config{},
		func(t *testing.T, s *ground) { t.Helper(); addLink(t, s, "svbr0", smartvmOfOthers) },
		errcode.BridgeSetupFailed,
		[]string{"smartvm 0123456789ab of the runtime directory /run/others", "another name"},
	},
	{
		"a table of nobody's",
		netconfig.Config{},
		func(t *testing.T, _ *ground) { t.Helper(); nft(t, "add table inet smartvm-svbr0") },
		errcode.BridgeSetupFailed,
		[]string{"smartvm has not made it", "another name"},
	},
	{
		"a table of another smartvm",
		netconfig.Config{},
		func(t *testing.T, _ *ground) {
			t.Helper()
			nft(t, "add table netdev smartvm-svbr0 { comment \""+smartvmOfOthers+" forwarding=0\"; }")
		},
		errcode.BridgeSetupFailed,
		[]string{"runtime directory /run/others", "another name"},
	},
	{
		"the same route in the tunnel's table",
		netconfig.Config{WireGuard: &netconfig.WireGuard{Existing: "wg-others"}},
		func(t *testing.T, s *ground) { t.Helper(); addRoute(t, s, "0.0.0.0/0", 51820) },
		errcode.WireGuardSetupFailed,
		[]string{"51820", "RouteTable", "default dev wg-others"},
	},
	{
		"another route in the tunnel's table",
		netconfig.Config{WireGuard: &netconfig.WireGuard{Existing: "wg-others", RouteTable: 7}},
		func(t *testing.T, s *ground) { t.Helper(); addRoute(t, s, "10.0.0.0/8", 7) },
		errcode.WireGuardSetupFailed,
		[]string{"7", "RouteTable", "10.0.0.0/8 dev wg-others"},
	},
	{
		"a route into the subnet",
		netconfig.Config{},
		func(t *testing.T, s *ground) { t.Helper(); addRoute(t, s, "172.30.0.0/25", 254) },
		errcode.InvalidSubnet,
		[]string{"172.30.0.0/25", "wg-others", "choose another subnet"},
	},
}

func addLink(t *testing.T, s *ground, name, alias string) {
	t.Helper()
	b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	try(t, s.host.Netlink().LinkAdd(b))
	if alias != "" {
		try(t, s.host.Netlink().LinkSetAlias(b, alias))
	}
}

func addRoute(t *testing.T, s *ground, to string, table int) {
	t.Helper()
	prefix, err := netlink.ParseIPNet(to)
	try(t, err)
	try(t, s.host.Netlink().RouteAdd(&netlink.Route{LinkIndex: s.host.Link(t, "wg-others").Attrs().Index, Dst: prefix, Table: table, Scope: netlink.SCOPE_LINK}))
}

func TestWhatOthersHaveIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	for _, o := range obstacles {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				tunnelOfOthers(t)
				s := newGround(t)
				o.make(t, s)
				s.before = s.host.Snapshot(t)
				n := s.network(t, hostnet.Options{Config: o.config})
				v := s.vm(t, "vm")
				_, attach := n.Attach(t.Context(), v, v.Dir(), hostnet.Request{VM: "vm", Iface: "eth0"})
				for _, err := range []error{n.Hold(t.Context()), attach} {
					if !errors.Is(err, o.code) {
						t.Errorf("got %v, want %s", err, o.code)
						continue
					}
					text := fullText(err)
					for _, word := range o.says {
						if !strings.Contains(text, word) {
							t.Errorf("%q does not say %q", text, word)
						}
					}
				}
				v.gone(t)
				s.clean(t)
			})
		})
	}
}

// fullText is an error with its advice.
func fullText(err error) string {
	text := err.Error()
	for e, ok := errors.AsType[*errcode.Error](err); ok; e, ok = errors.AsType[*errcode.Error](e.Err) {
		text += " (" + e.Hint + ")"
		for _, d := range e.Details {
			text += " " + d.Message
		}
	}
	return text
}

func TestSubnetOfAnotherNetworkIsRefused(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		s := newGround(t)
		elsewhere := &ground{runtime: t.TempDir(), host: s.host, before: s.before}
		try(t, os.Chmod(elsewhere.runtime, 0o700))
		first := s.network(t, hostnet.Options{})
		try(t, first.Hold(t.Context()))
		wide := netconfig.Config{Bridge: "svbr1", Subnet: netip.MustParsePrefix("172.30.0.0/16")}
		for name, n := range map[string]*hostnet.Network{
			"same directory":  s.network(t, hostnet.Options{Config: wide}),
			"other directory": elsewhere.network(t, hostnet.Options{Config: wide}),
		} {
			err := n.Hold(t.Context())
			if !errors.Is(err, errcode.InvalidSubnet) || !strings.Contains(fullText(err), "svbr0") || !strings.Contains(fullText(err), "another subnet") {
				t.Errorf("%s: got %v", name, fullText(err))
			}
		}
		// The subnet of one that is gone is free.
		try(t, first.Close())
		n := elsewhere.network(t, hostnet.Options{Config: wide})
		try(t, n.Hold(t.Context()))
		try(t, n.Close())
		s.clean(t)
	})
}
