package netplan_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

func randomGuests(r *rand.Rand, n int) []netplan.Guest {
	var guests []netplan.Guest
	for i := range n {
		g := netplan.Guest{
			TAP: "svt" + strconv.Itoa(i), MAC: netplan.HardwareAddr{2, 5: byte(i)}, Addr: netip.AddrFrom4([4]byte{172, 30, 0, byte(2 + i)}),
			VM: "vm" + strconv.Itoa(i), Iface: "eth0",
		}
		if r.IntN(2) == 0 {
			g.Egress = randomPolicy(r, 5)
		}
		for j := range r.IntN(3) {
			f := netconfig.Forward{HostPort: uint16(1000 + 10*i + j), GuestPort: 80, Protocol: pick(r, "", netconfig.TCP, netconfig.UDP)}
			f.HostIP = pick(r, netip.Addr{}, ip("0.0.0.0"), hostIP)
			g.Forwards = append(g.Forwards, f)
		}
		guests = append(guests, g)
	}
	return guests
}

// apply does with tables what the kernel does.
func apply(t *testing.T, tables []ruleset.Table, c netplan.Change) {
	t.Helper()
	find := func(family ruleset.Family, name string) *ruleset.Table {
		for i := range tables {
			if tables[i].Family == family && tables[i].Name == name {
				return &tables[i]
			}
		}
		t.Fatalf("no table %s %s", family, name)
		return nil
	}
	for _, s := range c.Sets {
		table := find(s.Family, s.Table)
		table.Sets = append(table.Sets, s.Item)
	}
	for _, chain := range c.Chains {
		table := find(chain.Family, chain.Table)
		table.Chains = append(table.Chains, chain.Item)
	}
	for _, e := range c.Elements {
		table := find(e.Family, e.Table)
		i := slices.IndexFunc(table.Sets, func(s ruleset.Set) bool { return s.Name == e.Item.Set.Name })
		declared := table.Sets[i]
		declared.Elements = nil
		if diff := cmp.Diff(declared, e.Item.Set); diff != "" {
			t.Errorf("elements for another kind of set:\n%s", diff)
		}
		table.Sets[i].Elements = append(table.Sets[i].Elements, e.Item.Elements...)
	}
}

// remove undoes apply.
func remove(t *testing.T, tables []ruleset.Table, c netplan.Change) {
	t.Helper()
	for i := range tables {
		table := &tables[i]
		for _, e := range c.Elements {
			for j := range table.Sets {
				if s := &table.Sets[j]; e.Family == table.Family && s.Name == e.Item.Set.Name {
					s.Elements = slices.DeleteFunc(s.Elements, func(old ruleset.Element) bool {
						return slices.ContainsFunc(e.Item.Elements, func(n ruleset.Element) bool { return cmp.Equal(old.Key, n.Key) })
					})
				}
			}
		}
		table.Sets = slices.DeleteFunc(table.Sets, func(s ruleset.Set) bool {
			return slices.ContainsFunc(c.Sets, func(n netplan.InTable[ruleset.Set]) bool {
				return n.Family == table.Family && n.Item.Name == s.Name
			})
		})
		table.Chains = slices.DeleteFunc(table.Chains, func(s ruleset.Chain) bool {
			return slices.ContainsFunc(c.Chains, func(n netplan.InTable[ruleset.Chain]) bool {
				return n.Family == table.Family && n.Item.Name == s.Name
			})
		})
	}
}

func TestAttachAddsWhatThePlanHasAndTakesItAwayAgain(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	config := *(&netconfig.Config{Egress: randomPolicy(r, 10)}).WithDefaults()
	plan, err := netplan.Make(config, facts, owner)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		guests := randomGuests(r, 1+r.IntN(6))
		tables := plan.With(nil).Tables
		for _, g := range guests {
			apply(t, tables, netplan.Attach(config, g))
		}
		if diff := cmp.Diff(text(plan.With(guests).Tables), text(tables)); diff != "" {
			t.Fatal(diff)
		}
		r.Shuffle(len(guests), func(i, j int) { guests[i], guests[j] = guests[j], guests[i] })
		for _, g := range guests {
			remove(t, tables, netplan.Attach(config, g))
		}
		if diff := cmp.Diff(text(plan.Tables), text(tables)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func text(tables []ruleset.Table) string {
	var b strings.Builder
	for _, t := range tables {
		b.WriteString(t.String())
	}
	return b.String()
}

// The kernel refuses what is there twice, or not there.
func TestNamesInTablesAreUniqueAndKnown(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	for range 50 {
		plan := sample{config: netconfig.Config{Egress: randomPolicy(r, 10)}, guests: randomGuests(r, 6)}.plan(t)
		for _, table := range plan.Tables {
			names := map[string]bool{}
			for _, s := range table.Sets {
				if names["set "+s.Name] {
					t.Errorf("set %s is there twice", s.Name)
				}
				names["set "+s.Name] = true
			}
			for _, c := range table.Chains {
				if names["chain "+c.Name] {
					t.Errorf("chain %s is there twice", c.Name)
				}
				names["chain "+c.Name] = true
			}
			for _, v := range verdicts(table) {
				if v.Chain != "" && !names["chain "+v.Chain] {
					t.Errorf("%v leads nowhere", v)
				}
			}
		}
	}
}

func verdicts(table ruleset.Table) []ruleset.Verdict {
	var all []ruleset.Verdict
	for _, s := range table.Sets {
		for _, e := range s.Elements {
			if e.Verdict != nil {
				all = append(all, *e.Verdict)
			}
		}
	}
	for _, c := range table.Chains {
		for _, r := range c.Rules {
			for _, s := range r.Do {
				if v, is := s.(ruleset.Verdict); is {
					all = append(all, v)
				}
			}
		}
	}
	return all
}

func TestEveryDropIsCountedAndSaysWhatItWas(t *testing.T) {
	t.Parallel()
	for name, s := range samples() {
		for _, table := range s.plan(t).Tables {
			for _, c := range table.Chains {
				for _, r := range c.Rules {
					drops := slices.Contains(r.Do, ruleset.Statement(ruleset.Verdict{Kind: ruleset.Drop}))
					counted := slices.Contains(r.Do, ruleset.Statement(ruleset.Counter{})) && r.Comment != ""
					behindLog := slices.ContainsFunc(c.Rules, func(r ruleset.Rule) bool {
						return slices.ContainsFunc(r.Do, func(s ruleset.Statement) bool { _, is := s.(ruleset.Log); return is })
					}) // the element that led there counts
					if drops && !counted && !behindLog {
						t.Errorf("%s: %s: %v", name, c.Name, r)
					}
				}
			}
		}
	}
}

func TestGuestRuleCountersAreItsOwnSets(t *testing.T) {
	t.Parallel()
	g := samples()["policy"].guests[0]
	want := []string{"svtaaaaaaaa_addr_1", "svtaaaaaaaa_addr_2"}
	if got := netplan.GuestRuleCounters(g); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	g.Egress = nil
	if got := netplan.GuestRuleCounters(g); got != nil {
		t.Errorf("without a policy: %v", got)
	}
}
