package hostnet_test

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/netconfig"
)

// What others do to a network, and a word of what a check says about it.
var damages = []struct {
	name, says string
	do         func(t *testing.T, s *ground, tap string)
	repair     bool // else it is not to be repaired by itself
}{
	{"every rule set flushed", "smartvm-svbr0", func(t *testing.T, _ *ground, _ string) {
		t.Helper()
		nft(t, "flush", "ruleset")
	}, true},
	{"a chain flushed", "from_guest", func(t *testing.T, _ *ground, _ string) {
		t.Helper()
		nft(t, "flush", "chain", "inet", "smartvm-svbr0", "from_guest")
	}, true},
	{"the guard of a TAP removed", "svt", func(t *testing.T, _ *ground, tap string) {
		t.Helper()
		nft(t, "delete", "chain", "netdev", "smartvm-svbr0", tap)
	}, true},
	{"the bridge deleted", "bridge svbr0 is gone", func(t *testing.T, s *ground, _ string) {
		t.Helper()
		try(t, s.host.Netlink().LinkDel(s.host.Link(t, "svbr0")))
	}, true},
	{"the bridge set down", "bridge svbr0 is down", func(t *testing.T, s *ground, _ string) {
		t.Helper()
		try(t, s.host.Netlink().LinkSetDown(s.host.Link(t, "svbr0")))
	}, true},
	{"the bridge's address removed", "lost its address", func(t *testing.T, s *ground, _ string) {
		t.Helper()
		addrs, err := s.host.Netlink().AddrList(s.host.Link(t, "svbr0"), netlink.FAMILY_V4)
		try(t, err)
		for i := range addrs {
			try(t, s.host.Netlink().AddrDel(s.host.Link(t, "svbr0"), &addrs[i]))
		}
	}, true},
	{"a TAP detached", "not connected", func(t *testing.T, s *ground, tap string) {
		t.Helper()
		try(t, s.host.Netlink().LinkSetNoMaster(s.host.Link(t, tap)))
	}, true},
	{"a TAP set down", "or down", func(t *testing.T, s *ground, tap string) {
		t.Helper()
		try(t, s.host.Netlink().LinkSetDown(s.host.Link(t, tap)))
	}, true},
	{"a routing rule deleted", "routing rule 90", func(t *testing.T, s *ground, _ string) {
		t.Helper()
		rule := netlink.NewRule()
		rule.Priority, rule.IifName, rule.Type = 90, "svbr0", unix.RTN_UNREACHABLE
		try(t, s.host.Netlink().RuleDel(rule))
	}, true},
	{"a route deleted", "route default", func(t *testing.T, s *ground, _ string) {
		t.Helper()
		index := s.host.Link(t, "wg-others").Attrs().Index
		routes, err := s.host.Netlink().RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: 51820, LinkIndex: index}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
		try(t, err)
		for i := range routes {
			try(t, s.host.Netlink().RouteDel(&routes[i]))
		}
	}, true},
	{"forwarding switched off", "net.ipv4.ip_forward is 0", func(t *testing.T, s *ground, _ string) {
		t.Helper()
		s.host.SetSysctl(t, "net/ipv4/ip_forward", "0")
	}, true},
	{"a setting of the bridge changed", "accept_redirects is 1", func(t *testing.T, s *ground, _ string) {
		t.Helper()
		s.host.SetSysctl(t, "net/ipv4/conf/svbr0/accept_redirects", "1")
	}, true},
	{"a firewall loaded", "chain inet others forward", func(t *testing.T, _ *ground, _ string) {
		t.Helper()
		nft(t, "add table inet others; add chain inet others forward { type filter hook forward priority 0; policy drop; }")
	}, true},
	{"a TAP deleted", "is gone", func(t *testing.T, s *ground, tap string) {
		t.Helper()
		try(t, s.host.Netlink().LinkDel(s.host.Link(t, tap)))
	}, false},
}

func nft(t *testing.T, words ...string) {
	t.Helper()
	try(t, proc.Run(t.Context(), proc.Command{Path: hosttest.Path(t, "nft"), Args: words}))
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheckNamesDamageAndRepairUndoesIt(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	for _, damage := range damages {
		t.Run(damage.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				tunnelOfOthers(t)
				s := newGround(t)
				n := s.network(t, hostnet.Options{Config: netconfig.Config{WireGuard: &netconfig.WireGuard{Existing: "wg-others"}}})
				v, tap := damagedVM(t, s, n)
				good := s.host.Snapshot(t)
				damage.do(t, s, tap.Name)
				faults, err := n.Check(t.Context())
				try(t, err)
				if text := textOf(faults); text == "" || !strings.Contains(text, damage.says) {
					t.Errorf("the check does not say %q:\n%s", damage.says, text)
				}
				try(t, n.Repair(t.Context()))
				faults, err = n.Check(t.Context())
				if err != nil || damage.repair != (len(faults) == 0) {
					t.Errorf("after the repair: %v\n%s", err, textOf(faults))
				}
				for _, line := range good.Diff(s.host.Snapshot(t)) {
					// A bridge that was made anew has another index, a chain another place.
					if damage.repair && strings.HasPrefix(line, "- ") && !strings.Contains(line, "svbr0") && !strings.Contains(line, "master") && !strings.Contains(line, "link ") {
						t.Error("after the repair: ", line)
					}
				}
				v.gone(t)
				if damage.says == "chain inet others forward" {
					nft(t, "delete", "table", "inet", "others")
				}
				s.clean(t)
			})
		})
	}
}

func damagedVM(t *testing.T, s *ground, n *hostnet.Network) (*tenant, *hostnet.TAP) {
	t.Helper()
	v := s.vm(t, "vm")
	tap, err := n.Attach(t.Context(), v, v.Dir(), hostnet.Request{VM: "vm", Iface: "eth0", Egress: &netconfig.Policy{Default: netconfig.Deny}})
	try(t, err)
	faults, err := n.Check(t.Context())
	if err != nil || len(faults) > 0 {
		t.Fatalf("before the damage: %v\n%s", err, textOf(faults))
	}
	return v, tap
}

func textOf(faults []hostnet.Fault) string {
	var b strings.Builder
	for _, f := range faults {
		b.WriteString(f.What + " [" + f.Effect + "] " + f.Fix + "\n")
	}
	return b.String()
}

// intact fails the test if the network is not as planned, with so many guests.
func (s *ground) intact(t *testing.T, guests int) {
	t.Helper()
	n := s.network(t, hostnet.Options{})
	if faults, err := n.Check(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("faults %+v, %v", faults, err)
	}
	info, err := n.Info(t.Context())
	if err != nil || len(info.Guests) != guests {
		t.Errorf("the network is %+v, %v, want %d guests", info, err, guests)
	}
}

// A start does not look whether the network is intact; what it meets is repaired.
func TestGuestOfDamagedNetworkIsAttached(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	for _, damage := range []struct {
		name string
		do   func(t *testing.T, s *ground)
	}{
		{"tables gone", func(t *testing.T, _ *ground) { t.Helper(); nft(t, "flush", "ruleset") }},
		{"bridge gone", func(t *testing.T, s *ground) {
			t.Helper()
			try(t, s.host.Netlink().LinkDel(s.host.Link(t, "svbr0")))
		}},
		{"both gone", func(t *testing.T, s *ground) {
			t.Helper()
			nft(t, "flush", "ruleset")
			try(t, s.host.Netlink().LinkDel(s.host.Link(t, "svbr0")))
		}},
	} {
		t.Run(damage.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				s := newGround(t)
				n := s.network(t, hostnet.Options{})
				first, second := s.vm(t, "first"), s.vm(t, "second")
				first.attach(t, n)
				damage.do(t, s)
				second.attach(t, n)
				s.intact(t, 2)
				first.gone(t)
				second.gone(t)
				s.clean(t)
			})
		})
	}
}
