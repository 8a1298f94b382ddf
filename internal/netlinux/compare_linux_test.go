package netlinux_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/ruleset"
)

func TestNothingIsMissingOfWhatReplaceMade(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		n, h := nettest.Host(t), open(t)
		n.AddTAP(t, "tap0")
		n.AddTAP(t, "tap1")
		tables := slices.Concat(everything("tap0"), plan(t).Tables)
		must(t, h.Replace(tables))
		if missing, err := h.Missing(tables); err != nil || len(missing) > 0 {
			t.Errorf("missing %q, %v", missing, err)
		}
	})
}

func TestMissingNoticesWhatOthersDestroy(t *testing.T) {
	t.Parallel()
	const inet, netdev = " in table inet smartvm-every", " in table netdev smartvm-every"
	for _, tt := range []struct {
		name, command string
		want          []string
	}{
		{"ruleset flushed", "flush ruleset", []string{"table inet smartvm-every is gone", "table ip smartvm-every is gone", "table netdev smartvm-every is gone"}},
		{"table deleted", "delete table inet smartvm-every", []string{"table inet smartvm-every is gone"}},
		{"rules flushed", "flush table netdev smartvm-every", []string{"chain guard has 0 rules instead of 8" + netdev}},
		{"chain flushed", "flush chain inet smartvm-every statements", []string{"chain statements has 0 rules instead of 8" + inet}},
		{"chain deleted", "delete chain inet smartvm-every droppy", []string{"chain droppy is gone" + inet}},
		{"policy changed", "add chain inet smartvm-every droppy { policy accept; }", []string{"chain droppy has another hook or policy" + inet}},
		{"rule added", "insert rule inet smartvm-every statements accept", []string{"chain statements has 9 rules instead of 8" + inet}},
		{"rule replaced", "flush chain inet smartvm-every leaving; add rule inet smartvm-every leaving accept", []string{"rule 1 of chain leaving is another" + inet}},
		{"element deleted", "delete element inet smartvm-every ports { tcp . 53 }", []string{"set ports lacks 1 of 2 elements" + inet}},
		{"map flushed", "flush map inet smartvm-every policies", []string{"set policies lacks 3 of 3 elements" + inet}},
		{
			"interval deleted", "delete element inet smartvm-every egress { 10.0.0.0/8 . tcp . 80-90 }; delete element inet smartvm-every nets { 192.0.2.77 }",
			[]string{"set nets lacks 1 of 4 elements" + inet, "set egress lacks 1 of 3 elements" + inet},
		},
		{
			"verdict changed", "delete element inet smartvm-every policies { 172.30.0.4 }; add element inet smartvm-every policies { 172.30.0.4 : drop }",
			[]string{"set policies lacks 1 of 3 elements" + inet},
		},
		{
			"set replaced", "flush chain inet smartvm-every fields; delete set inet smartvm-every marks; add set inet smartvm-every marks { type ipv4_addr; }",
			[]string{"chain fields has 0 rules instead of 66" + inet, "set marks is of another kind" + inet},
		},
		{"set deleted", "flush chain inet smartvm-every fields; delete set inet smartvm-every marks", []string{"chain fields has 0 rules instead of 66" + inet, "set marks is gone" + inet}},
		{"what is not in the way", "add element inet smartvm-every ports { tcp . 99 }; add chain inet smartvm-every theirs; add rule inet smartvm-every theirs drop", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nettest.Isolated(t, func(t *testing.T) {
				hosttest.Need(t, hosttest.Tool("nft"))
				n, h := nettest.Host(t), open(t)
				n.AddTAP(t, "tap0")
				tables := everything("tap0")
				must(t, h.Replace(tables))
				nft(t, n, tt.command, "-f", "-")
				got, err := h.Missing(tables)
				must(t, err)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("missing (-want +got):\n%s", diff)
				}
				must(t, h.Replace(tables))
				if got, err := h.Missing(tables); err != nil || len(got) > 0 {
					t.Errorf("missing after a repair: %q, %v", got, err)
				}
			})
		})
	}
}

func TestMissingNoticesATableOfAnotherOwner(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		table := ruleset.Table{Family: ruleset.Inet, Name: "t", Comment: mark}
		must(t, h.Replace([]ruleset.Table{table}))
		table.Comment = foreign
		got, err := h.Missing([]ruleset.Table{table})
		want := []string{`table inet t has the comment "` + mark + `" instead of "` + foreign + `"`}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v, missing (-want +got):\n%s", err, diff)
		}
	})
}

// A policy that was prepared and not put in force has all of its sets.
func TestMissingNoticesARuleThatLooksIntoAnotherSet(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		key := []ruleset.Field{ruleset.Source}
		leads := func(to string) []ruleset.Table {
			return []ruleset.Table{{
				Family: ruleset.Inet, Name: "smartvm-two", Comment: "smartvm test",
				Sets:   []ruleset.Set{{Name: "one", Key: key, Verdicts: true}, {Name: "other", Key: key, Verdicts: true}},
				Chains: []ruleset.Chain{{Name: "look", Rules: []ruleset.Rule{{Do: []ruleset.Statement{ruleset.VerdictMap{Key: key, Map: to}}}}}},
			}}
		}
		must(t, h.Replace(leads("one")))
		for to, want := range map[string][]string{"one": nil, "other": {"rule 1 of chain look is another in table inet smartvm-two"}} {
			got, err := h.Missing(leads(to))
			must(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: missing (-want +got):\n%s", to, diff)
			}
		}
	})
}
