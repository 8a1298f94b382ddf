package nettest

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Counted returns how many packets the rules of the tables of a name have counted, by
// the comments of the rules: those that have the same are added up.
func (n *Namespace) Counted(tb testing.TB, table string) map[string]int {
	tb.Helper()
	counts := map[string]int{}
	n.eachRule(tb, table, func(rule *nftables.Rule) {
		comment, _ := userdata.GetString(rule.UserData, userdata.TypeComment)
		for _, e := range rule.Exprs {
			if counter, is := e.(*expr.Counter); is {
				counts[comment] += int(counter.Packets)
			}
		}
	})
	return counts
}

// Logs returns the prefixes of the rules that log in the tables of a name, with the
// number of packets that they log in a second; 0 is without limit.
func (n *Namespace) Logs(tb testing.TB, table string) map[string]uint64 {
	tb.Helper()
	logs := map[string]uint64{}
	n.eachRule(tb, table, func(rule *nftables.Rule) {
		rate := uint64(0)
		for _, e := range rule.Exprs {
			switch e := e.(type) {
			case *expr.Limit:
				if e.Type == expr.LimitTypePkts && e.Unit == expr.LimitTimeSecond && !e.Over {
					rate = e.Rate
				}
			case *expr.Log:
				logs[string(bytes.TrimRight(e.Data, "\x00"))] = rate
			}
		}
	})
	return logs
}

func (n *Namespace) eachRule(tb testing.TB, table string, do func(*nftables.Rule)) {
	tb.Helper()
	err := n.Do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := conn.ListChains()
		if err != nil {
			return err
		}
		for _, chain := range chains {
			if chain.Table.Name != table {
				continue
			}
			rules, err := conn.GetRules(chain.Table, chain)
			if err != nil {
				return err
			}
			for _, rule := range rules {
				do(rule)
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatalf("list the rules of %s: %v", table, err)
	}
}

// FlushRules removes all that nftables has in the namespace, as "nft flush ruleset".
func (n *Namespace) FlushRules(tb testing.TB) {
	tb.Helper()
	err := n.Do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		conn.FlushRuleset()
		return conn.Flush()
	})
	if err != nil {
		tb.Fatal("flush the rules: ", err)
	}
}

// Down sets the named link down.
func (n *Namespace) Down(tb testing.TB, name string) {
	tb.Helper()
	if err := n.nl.LinkSetDown(n.Link(tb, name)); err != nil {
		tb.Fatalf("set down %s: %v", name, err)
	}
}

// Delete removes the named link.
func (n *Namespace) Delete(tb testing.TB, name string) {
	tb.Helper()
	if err := n.nl.LinkDel(n.Link(tb, name)); err != nil {
		tb.Fatalf("delete %s: %v", name, err)
	}
}

// ReplaceDefault makes the default route lead to a gateway, in the place of the one
// that is there.
func (n *Namespace) ReplaceDefault(tb testing.TB, via string) {
	tb.Helper()
	route := netlink.Route{
		Gw:  netip.MustParseAddr(via).AsSlice(),
		Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
	}
	if err := n.nl.RouteReplace(&route); err != nil {
		tb.Fatalf("replace the default route by one via %s: %v", via, err)
	}
}

// FlushRoutes removes all IPv4 routes of a table.
func (n *Namespace) FlushRoutes(tb testing.TB, table int) {
	tb.Helper()
	routes, err := n.nl.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range routes {
		if err := n.nl.RouteDel(&routes[i]); err != nil {
			tb.Fatalf("delete the route %v: %v", routes[i], err)
		}
	}
}

// FlushRoutingRules removes the IPv4 routing rules for what comes in by a link.
func (n *Namespace) FlushRoutingRules(tb testing.TB, iif string) {
	tb.Helper()
	rules, err := n.nl.RuleList(netlink.FAMILY_V4)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range rules {
		if rules[i].IifName != iif {
			continue
		}
		if err := n.nl.RuleDel(&rules[i]); err != nil {
			tb.Fatalf("delete the routing rule %v: %v", rules[i], err)
		}
	}
}

// SendFrame sends a frame out on a link, past the namespace's own idea of where packets
// go.
func (n *Namespace) SendFrame(tb testing.TB, iface string, f Frame) {
	tb.Helper()
	err := n.Do(func() error {
		link, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		return unix.Sendto(fd, f.Bytes(), 0, &unix.SockaddrLinklayer{Ifindex: link.Index})
	})
	if err != nil {
		tb.Fatalf("send a frame on %s: %v", iface, err)
	}
}

// JoinBridge connects a namespace to a bridge of n by a cable: its end is eth0, with an
// address and a default route.
func (n *Namespace) JoinBridge(tb testing.TB, other *Namespace, bridge, addr, gateway string) {
	tb.Helper()
	port := "p" + bridge
	Connect(tb, End{In: n, Iface: port}, End{In: other, Iface: "eth0", Addrs: []string{addr}})
	if err := n.nl.LinkSetMaster(n.Link(tb, port), n.Link(tb, bridge)); err != nil {
		tb.Fatal(err)
	}
	other.AddRoute(tb, "0.0.0.0/0", gateway)
}
