package nettest_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"

	"github.com/smartvm/smartvm/internal/nettest"
)

// alter changes something, by a transaction of nftables where it is one.
func alter(t *testing.T, n *nettest.Namespace, f func(conn *nftables.Conn, table *nftables.Table) error) {
	t.Helper()
	err := n.Do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		if err := f(conn, &nftables.Table{Family: nftables.TableFamilyINet, Name: "t"}); err != nil {
			return err
		}
		return conn.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotSeesEveryChange(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		n := nettest.Host(t)
		n.Uplink(t, "up0", "198.51.100.1/24")
		nl := n.Netlink()
		up0 := n.Link(t, "up0")
		rule := netlink.NewRule()
		rule.Priority, rule.Table, rule.IifName = 77, 123, "up0"
		_, far, err := net.ParseCIDR("203.0.113.0/24")
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			want   string
			change func(conn *nftables.Conn, table *nftables.Table) error
		}{
			{"+ link tap0", func(*nftables.Conn, *nftables.Table) error { n.AddTAP(t, "tap0"); return nil }},
			{`alias "mine"`, func(*nftables.Conn, *nftables.Table) error { return nl.LinkSetAlias(up0, "mine") }},
			{"+ address 192.0.2.9/32", func(*nftables.Conn, *nftables.Table) error { n.AddAddr(t, "lo", "192.0.2.9/32"); return nil }},
			{"+ route 203.0.113.0/24: table 5", func(*nftables.Conn, *nftables.Table) error {
				return nl.RouteAdd(&netlink.Route{Dst: far, LinkIndex: up0.Attrs().Index, Table: 5})
			}},
			{`+ rule 77: family 2, from <nil>, to <nil>, iif "up0"`, func(*nftables.Conn, *nftables.Table) error { return nl.RuleAdd(rule) }},
			{"+ neighbour 198.51.100.7", func(*nftables.Conn, *nftables.Table) error {
				return nl.NeighAdd(&netlink.Neigh{
					LinkIndex: up0.Attrs().Index, IP: netip.MustParseAddr("198.51.100.7").AsSlice(),
					HardwareAddr: []byte{2, 0, 0, 0, 0, 7}, State: netlink.NUD_PERMANENT,
				})
			}},
			{"setting net/ipv4/conf/up0/rp_filter: [2]", func(*nftables.Conn, *nftables.Table) error {
				n.SetSysctl(t, "net/ipv4/conf/up0/rp_filter", "2")
				return nil
			}},
			{"+ nft table: family 1 1=t", func(c *nftables.Conn, table *nftables.Table) error { c.AddTable(table); return nil }},
			{"+ nft chain: family 1 1=t", func(c *nftables.Conn, table *nftables.Table) error {
				c.AddChain(&nftables.Chain{
					Table: table, Name: "out", Type: nftables.ChainTypeFilter,
					Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
				})
				return nil
			}},
			{"+ nft rule: family 1 1=t 2=out", func(c *nftables.Conn, table *nftables.Table) error {
				c.AddRule(&nftables.Rule{
					Table: table, Chain: &nftables.Chain{Name: "out"},
					Exprs: []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept}},
				})
				return nil
			}},
			{"+ nft set: family 1 1=t 2=ports", func(c *nftables.Conn, table *nftables.Table) error {
				return c.AddSet(&nftables.Set{Table: table, Name: "ports", KeyType: nftables.TypeInetService, Counter: true}, nil)
			}},
			{"+ nft element: family 1, table t, set ports", func(c *nftables.Conn, table *nftables.Table) error {
				return c.SetAddElements(&nftables.Set{Table: table, Name: "ports", KeyType: nftables.TypeInetService},
					[]nftables.SetElement{{Key: []byte{0, 80}}})
			}},
		} {
			before := n.Snapshot(t)
			alter(t, n, tt.change)
			if got := strings.Join(before.Diff(n.Snapshot(t)), "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		}
	})
}

func TestSnapshotIgnoresWhatTrafficChanges(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		host, world, guest := routed(t)
		world.Serve(t, "udp", "203.0.113.9:53")
		host.Masquerade(t, "up0")
		alter(t, host, func(c *nftables.Conn, table *nftables.Table) error {
			c.AddTable(table)
			chain := c.AddChain(&nftables.Chain{
				Table: table, Name: "fwd", Type: nftables.ChainTypeFilter,
				Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
			})
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Counter{}}})
			return nil
		})
		before := host.Snapshot(t)
		if seen := guest.Reach(t, "udp", "203.0.113.9:53"); seen.Addr() != netip.MustParseAddr("198.51.100.1") {
			t.Errorf("masqueraded as %s", seen)
		}
		host.Same(t, before)
	})
}
