package netlinux_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// network makes the tables of a network without guests, and TAPs for two.
func network(t *testing.T, h interface{ Replace([]ruleset.Table) error }, n *nettest.Namespace) (*netplan.Plan, netconfig.Config) {
	t.Helper()
	c := *(&netconfig.Config{Bridge: "br0"}).WithDefaults()
	p, err := netplan.Make(c, netplan.Facts{}, netplan.Owner{ID: "0123456789ab", Dir: "/run/user dir"})
	must(t, err)
	must(t, h.Replace(p.Tables))
	n.AddTAP(t, "tap0")
	n.AddTAP(t, "tap1")
	return p, c
}

func TestAddMakesWhatThePlanWithTheGuestHas(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		hosttest.Need(t, hosttest.Tool("nft"))
		n, h := nettest.Host(t), open(t)
		p, c := network(t, h, n)
		a, b := guest("tap0", 2), guest("tap1", 3)
		without := nft(t, n, "", "list", "ruleset")
		must(t, h.Add(netplan.Attach(c, a)))
		one := nft(t, n, "", "list", "ruleset")
		must(t, h.Add(netplan.Attach(c, b)))
		if missing, err := h.Missing(p.With([]netplan.Guest{a, b}).Tables); err != nil || len(missing) > 0 {
			t.Errorf("missing %q, %v", missing, err)
		}
		must(t, h.Remove(netplan.Attach(c, b)))
		if got := nft(t, n, "", "list", "ruleset"); got != one {
			t.Errorf("not as before the second guest:\n%s", cmp.Diff(one, got))
		}
		must(t, h.Remove(netplan.Attach(c, a)))
		if got := nft(t, n, "", "list", "ruleset"); got != without {
			t.Errorf("not as before the guests:\n%s", cmp.Diff(without, got))
		}
	})
}

func TestRemoveRemovesWhatIsLeft(t *testing.T) {
	t.Parallel()
	const table = "inet smartvm-br0"
	for _, tt := range []struct {
		name, command string
		others        bool // it destroys what others have as well
	}{
		{"nothing is gone", "", false},
		{"guard", "delete chain netdev smartvm-br0 tap0", false},
		{"netdev table", "delete table netdev smartvm-br0", true},
		{"an element", "delete element " + table + " forwards_any { tcp . 9002 }", false},
		{"elements", "flush map " + table + " forwards; flush map " + table + " forwards_any; flush map " + table + " guest_policies", true},
		{"rules", "flush chain " + table + " tap0", false},
		{"rules and a set", "flush chain " + table + " tap0; delete map " + table + " tap0_addr_1", false},
		{"all tables", "flush ruleset", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				hosttest.Need(t, hosttest.Tool("nft"))
				n, h := nettest.Host(t), open(t)
				_, c := network(t, h, n)
				kept, change := netplan.Attach(c, guest("tap1", 3)), netplan.Attach(c, guest("tap0", 2))
				must(t, h.Add(kept))
				want := nft(t, n, "", "list", "ruleset")
				must(t, h.Add(change))
				nft(t, n, tt.command, "-f", "-")
				for range 2 {
					must(t, h.Remove(change))
					got := nft(t, n, "", "list", "ruleset")
					if strings.Contains(got, "tap0") || strings.Contains(got, "172.30.0.2") || !tt.others && got != want {
						t.Errorf("not as before:\n%s", cmp.Diff(want, got))
					}
				}
			})
		})
	}
}

func TestAddFailsWhole(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, before string
		want         error
		object       string
	}{
		{"no tables", "flush ruleset", fs.ErrNotExist, "chain tap0 of table netdev smartvm-br0"},
		{"no inet table", "delete table inet smartvm-br0", fs.ErrNotExist, "chain tap0_log_default of table inet smartvm-br0"},
		{"no set", "flush chain inet smartvm-br0 dstnat; flush chain inet smartvm-br0 output; delete map inet smartvm-br0 forwards", fs.ErrNotExist, "an element of set forwards of table inet smartvm-br0"},
		{"port taken", "add element inet smartvm-br0 forwards { 127.0.0.1 . tcp . 8002 : 172.30.0.9 . 80 }", fs.ErrExist, "an element of set forwards of table inet smartvm-br0"},
		{"chain of the same name", "add chain inet smartvm-br0 tap0", fs.ErrExist, "chain tap0 of table inet smartvm-br0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				hosttest.Need(t, hosttest.Tool("nft"))
				n, h := nettest.Host(t), open(t)
				_, c := network(t, h, n)
				nft(t, n, tt.before, "-f", "-")
				before := nft(t, n, "", "list", "ruleset")
				err := h.Add(netplan.Attach(c, guest("tap0", 2)))
				if !errors.Is(err, tt.want) || !errors.Is(err, errcode.NetworkFailed) {
					t.Errorf("%v, want %v", err, tt.want)
				}
				if first := netlinux.FirstFailed(err); first != tt.object {
					t.Errorf("it names %q, want %q", first, tt.object)
				}
				if after := nft(t, n, "", "list", "ruleset"); after != before {
					t.Errorf("something is changed:\n%s", cmp.Diff(before, after))
				}
			})
		})
	}
}

func TestReplaceChangesNothingWhenItFails(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		hosttest.Need(t, hosttest.Tool("nft"))
		n, h := nettest.Host(t), open(t)
		p, _ := network(t, h, n)
		before := nft(t, n, "", "list", "ruleset")
		twice := p.With([]netplan.Guest{guest("tap0", 2), guest("tap0", 3)}).Tables
		if err := h.Replace(twice); !errors.Is(err, fs.ErrExist) || netlinux.FirstFailed(err) != "chain tap0_log_default of table inet smartvm-br0" {
			t.Error(err)
		}
		tables := slices.Clone(p.Tables)
		tables[0].Chains = append(slices.Clone(tables[0].Chains), ruleset.Chain{Name: "last", Rules: []ruleset.Rule{
			rule(do(ruleset.Verdict{Kind: ruleset.Jump, Chain: "nowhere"})),
		}})
		if err := h.Replace(tables); !errors.Is(err, fs.ErrNotExist) || netlinux.FirstFailed(err) != "a rule of chain last of table inet smartvm-br0" {
			t.Error(err)
		}
		if after := nft(t, n, "", "list", "ruleset"); after != before {
			t.Errorf("something is changed:\n%s", cmp.Diff(before, after))
		}
	})
}

func TestTablesOfOthersAreNotTouched(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		hosttest.Need(t, hosttest.Tool("nft"))
		n, h := nettest.Host(t), open(t)
		p, _ := network(t, h, n)
		nft(t, n, `table ip smartvm-br0 { comment "`+foreign+`"; chain c { accept; }; }
			table netdev smartvm-br1 { comment "`+foreign+`"; }; table inet smartvm-br2 { comment "`+p.Mark+`0"; }; table inet smartvm-br3 {}; table ip6 smartvm-br0 {}`, "-f", "-")
		got, err := h.Tables()
		must(t, err)
		var names []string
		for _, table := range got {
			names = append(names, string(table.Family)+" "+table.Name+": "+table.Comment)
		}
		slices.Sort(names)
		want := []string{
			"inet smartvm-br0: " + p.Mark, "inet smartvm-br2: " + p.Mark + "0", "ip smartvm-br0: " + foreign,
			"netdev smartvm-br0: " + p.Mark, "netdev smartvm-br1: " + foreign,
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("tables (-want +got):\n%s", diff)
		}
		before := nft(t, n, "", "list", "ruleset")
		for _, table := range []ruleset.Table{
			{Family: ruleset.IP, Name: "smartvm-br0", Comment: p.Mark}, {Family: ruleset.Inet, Name: "smartvm-br3", Comment: p.Mark},
		} {
			if err := h.Replace([]ruleset.Table{table}); !errors.Is(err, errcode.BridgeSetupFailed) {
				t.Errorf("replace %s %s: %v", table.Family, table.Name, err)
			}
		}
		must(t, h.RemoveTables("smartvm-br0", "smartvm 0123456789ab br0 /run/user"+"x"))
		must(t, h.RemoveTables("smartvm-br2", p.Mark))
		must(t, h.RemoveTables("smartvm-br3", p.Mark))
		if after := nft(t, n, "", "list", "ruleset"); after != before {
			t.Errorf("something is changed:\n%s", cmp.Diff(before, after))
		}
		p.Tables[0].Comment += netplan.ForwardingWasOff // the same owner
		must(t, h.Replace(p.Tables))
		for range 2 {
			must(t, h.RemoveTables("smartvm-br0", p.Mark))
		}
		left, err := h.Tables()
		must(t, err)
		if len(left) != 3 {
			t.Errorf("left: %v", left)
		}
	})
}
