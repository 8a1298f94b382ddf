package netlinux_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/nettest"
)

var ruleForms = []netplan.RoutingRule{
	{Priority: 900, InIface: "br0", Mark: 0x5356, Table: unix.RT_TABLE_MAIN},
	{Priority: 901, InIface: "br0", Table: 5170},
	{Priority: 902, InIface: "br0", Unreachable: true},
}

func TestRoutingRuleIsAddedAndDeletedByAllThatItSays(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		check := func(when string, want bool) {
			t.Helper()
			for _, r := range ruleForms {
				if got, err := h.HasRule(r); err != nil || got != want {
					t.Errorf("%s: %+v: %t, %v", when, r, got, err)
				}
			}
		}
		check("at first", false)
		for range 2 {
			for _, r := range ruleForms {
				must(t, h.AddRule(r))
			}
		}
		check("its interface is not there", true)
		addBridge(t, h, "br0")
		check("added", true)
		before, err := netlink.RuleList(netlink.FAMILY_V4)
		must(t, err)
		if want := 3 + len(ruleForms); len(before) != want {
			t.Errorf("%d rules, want %d", len(before), want)
		}
		for _, r := range ruleForms {
			for _, other := range others(r) {
				if has, err := h.HasRule(other); err != nil || has {
					t.Errorf("%+v for %+v: %t, %v", other, r, has, err)
				}
				must(t, h.DeleteRule(other))
			}
		}
		check("others deleted", true)
		for range 2 {
			for _, r := range ruleForms {
				must(t, h.DeleteRule(r))
			}
		}
		check("deleted", false)
	})
}

// others are rules that differ from r in one thing.
func others(r netplan.RoutingRule) []netplan.RoutingRule {
	priority, iface, mark, table, action := r, r, r, r, r
	priority.Priority += 1000
	iface.InIface = "br1"
	mark.Mark ^= 7
	table.Table += 3
	action.Unreachable = !r.Unreachable
	all := []netplan.RoutingRule{priority, iface, mark, action}
	if !r.Unreachable {
		all = append(all, table)
	}
	if r.Mark != 0 {
		mark.Mark = 0 // says less, and the kernel would take that for any mark
		all = append(all, mark)
	}
	return all
}

func TestRoutingRuleOfOthersIsLeftAlone(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		r := ruleForms[1]
		r.Table = 200 // the library forgets the rest of a rule whose table needs more than a byte
		for i, change := range []func(*netlink.Rule){
			func(*netlink.Rule) {}, // the very same
			func(o *netlink.Rule) { o.Mark = 9 },
			func(o *netlink.Rule) { o.Src = ipNet("10.0.0.0/8") },
			func(o *netlink.Rule) { o.IPProto = unix.IPPROTO_UDP },
			func(o *netlink.Rule) { o.SuppressPrefixlen = 0 },
			func(o *netlink.Rule) { o.Tos = 4 },
			func(o *netlink.Rule) { o.Invert = true },
		} {
			theirs := netlink.NewRule()
			theirs.Priority, theirs.IifName, theirs.Table = r.Priority, r.InIface, r.Table
			change(theirs)
			must(t, netlink.RuleAdd(theirs))
			must(t, h.DeleteRule(r))
			if has, err := h.HasRule(r); err != nil || has != (i == 0) {
				t.Errorf("there is %v: has %t, %v", theirs, has, err)
			}
			must(t, h.AddRule(r))
			if has, err := h.HasRule(r); err != nil || !has {
				t.Errorf("has %t, %v", has, err)
			}
			must(t, h.DeleteRule(r))
			if err := netlink.RuleDel(theirs); err != nil {
				t.Errorf("%v: it was taken away: %v", theirs, err)
			}
		}
	})
}

func TestRouteIsAddedAndDeletedByAllThatItSays(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		someLink(t, "wg0", "10.7.0.1/24", 1420)
		someLink(t, "wg1", "10.8.0.1/24", 1420)
		for _, to := range []string{"0.0.0.0/0", "10.50.0.0/16", "192.0.2.7/32"} {
			r := netplan.Route{Table: 5170, To: netip.MustParsePrefix(to), Iface: "wg0"}
			table, dest, iface := r, r, r
			table.Table = 5171
			dest.To = netip.MustParsePrefix("10.50.0.0/17")
			iface.Iface = "wg1"
			for range 2 {
				must(t, h.AddRoute(r))
			}
			for _, other := range []netplan.Route{table, dest, iface} {
				if has, err := h.HasRoute(other); err != nil || has {
					t.Errorf("%+v for %+v: %t, %v", other, r, has, err)
				}
				must(t, h.DeleteRoute(other))
			}
			if err := h.AddRoute(iface); !errors.Is(err, errcode.NetworkFailed) {
				t.Errorf("another route to the same destination: %v", err)
			}
			if has, err := h.HasRoute(r); err != nil || !has {
				t.Errorf("%+v: %t, %v", r, has, err)
			}
			for range 2 {
				must(t, h.DeleteRoute(r))
			}
			if has, err := h.HasRoute(r); err != nil || has {
				t.Errorf("deleted %+v: %t, %v", r, has, err)
			}
		}
	})
}

func TestRouteOfOthersIsLeftAlone(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		l := someLink(t, "wg0", "10.7.0.1/24", 1420)
		r := netplan.Route{Table: 5170, To: netip.MustParsePrefix("10.50.0.0/16"), Iface: "wg0"}
		for _, same := range []bool{false, true} {
			theirs := netlink.Route{LinkIndex: l.Attrs().Index, Table: r.Table, Dst: ipNet("10.50.0.0/16"), Scope: netlink.SCOPE_LINK}
			if !same {
				theirs.Scope, theirs.Gw = netlink.SCOPE_UNIVERSE, []byte{10, 7, 0, 2}
			}
			must(t, netlink.RouteAdd(&theirs))
			if err := h.AddRoute(r); same && err != nil || !same && !errors.Is(err, errcode.NetworkFailed) {
				t.Errorf("the very same %t: got %v", same, err)
			}
			must(t, h.DeleteRoute(r))
			if err := netlink.RouteDel(&theirs); err != nil {
				t.Errorf("the very same %t: it was taken away: %v", same, err)
			}
		}
		gone := netplan.Route{Table: 5170, To: r.To, Iface: "gone0"}
		must(t, h.DeleteRoute(gone))
		if has, err := h.HasRoute(gone); err != nil || has {
			t.Errorf("of an interface that is gone: %t, %v", has, err)
		}
		if err := h.AddRoute(gone); !errors.Is(err, errcode.NetworkFailed) {
			t.Errorf("of an interface that is gone: %v", err)
		}
	})
}
