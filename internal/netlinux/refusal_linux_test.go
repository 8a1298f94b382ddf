package netlinux_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/nettest"
	"github.com/smartvm/smartvm/internal/ruleset"
	"github.com/smartvm/smartvm/netconfig"
)

// tryTables does what a user without capabilities may not.
func tryTables([]string) error {
	h, err := netlinux.Open()
	if err != nil {
		return err
	}
	table := ruleset.Table{Family: ruleset.Inet, Name: "smartvm-br0", Comment: mark}
	chain := netplan.Change{Chains: []netplan.InTable[ruleset.Chain]{{Family: table.Family, Table: table.Name, Item: ruleset.Chain{Name: "c"}}}}
	barrier := netplan.Barrier{Family: ruleset.Inet, Table: "theirs", Chain: "c"}
	_, tables := h.Tables()
	_, counts := h.SetCounts(table.Family, table.Name, "s")
	_, missing := h.Missing([]ruleset.Table{table})
	_, barriers := h.Barriers(context.Background())
	_, has := h.HasAccept(accepts(barrier), mark)
	var wrong []error
	for what, err := range map[string]error{
		"replace": h.Replace([]ruleset.Table{table}), "add": h.Add(chain), "remove": h.Remove(chain), "tables": tables, "counts": counts,
		"remove tables": h.RemoveTables(table.Name, mark), "missing": missing, "barriers": barriers, "has accept": has,
		"add accept": h.AddAccept(accepts(barrier), mark), "remove accept": h.RemoveAccept(barrier, mark),
	} {
		if e, ok := errors.AsType[*errcode.Error](err); !ok || e.Code != errcode.NotPermitted || !strings.Contains(e.Hint, "CAP_NET_ADMIN") {
			wrong = append(wrong, fmt.Errorf("%s: %w", what, err))
		}
	}
	return errors.Join(wrong...)
}

func TestMissingCapabilityForTablesIsNamed(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		cmd := play(t, "no tables")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		must(t, cmd.Run())
	})
}

func TestWhatTheKernelLacksIsNamed(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		for _, tt := range []struct {
			err  error
			hint string
		}{
			{h.AddStrange("filter", "strange"), "the kernel lacks it: modprobe nft_strange"},
			{h.AddOf(unix.NFPROTO_DECNET), "the kernel lacks it: modprobe nf_tables_inet"},
		} {
			if e, ok := errors.AsType[*errcode.Error](tt.err); !ok || e.Code != errcode.HostUnsupported || e.Hint != tt.hint {
				t.Errorf("%v, want the hint %q", tt.err, tt.hint)
			}
		}
		if tables, err := h.Tables(); err != nil || len(tables) > 0 {
			t.Errorf("left: %v, %v", tables, err)
		}
	})
}

func TestValuesThatNoMessageCanBeMadeOfAreRefused(t *testing.T) {
	t.Parallel()
	table := func(sets []ruleset.Set, rules ...ruleset.Rule) ruleset.Table {
		return ruleset.Table{Family: ruleset.Inet, Name: "t", Sets: sets, Chains: []ruleset.Chain{{Name: "c", Rules: rules}}}
	}
	set := func(s ruleset.Set) ruleset.Table { s.Name = "s"; return table([]ruleset.Set{s}) }
	source := []ruleset.Field{ruleset.Source}
	for name, bad := range map[string]ruleset.Table{
		"short value":          table(nil, rule(nil, is(ruleset.Source, n16(1)))),
		"unknown field":        table(nil, rule(nil, is("strange", n8(1)))),
		"field in a set":       table(nil, rule(nil, inSet("s", "strange"))),
		"two fields, no set":   table(nil, rule(nil, ruleset.Match{Fields: []ruleset.Field{ruleset.Source, ruleset.Port}})),
		"long prefix":          table(nil, rule(nil, ruleset.Match{Fields: source, Range: one(addr("10.0.0.0")), PrefixLen: 33})),
		"long name":            table(nil, rule(nil, is(ruleset.InIface, name17()))),
		"unknown verdict":      table(nil, rule(do(ruleset.Verdict{Kind: "strange"}))),
		"unknown hook":         {Family: ruleset.Inet, Name: "t", Chains: []ruleset.Chain{base("c", "filter", "strange", 0)}},
		"key of two fields":    set(ruleset.Set{Key: source, Elements: []ruleset.Element{{Key: []ruleset.Range{one(n32(1)), one(n32(2))}}}}),
		"range without ranges": set(ruleset.Set{Key: source, Elements: []ruleset.Element{{Key: []ruleset.Range{{Min: n32(1), Max: n32(2)}}}}}),
		"no verdict":           set(ruleset.Set{Key: source, Verdicts: true, Elements: []ruleset.Element{{Key: []ruleset.Range{one(n32(1))}}}}),
		"no data":              set(ruleset.Set{Key: source, Data: source, Elements: []ruleset.Element{{Key: []ruleset.Range{one(n32(1))}}}}),
		"ranges of marks":      set(ruleset.Set{Key: []ruleset.Field{ruleset.Mark}, Interval: true}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := netlinux.Compile(bad); err == nil {
				t.Error("it is taken")
			}
		})
	}
}

func name17() ruleset.Value { return name("seventeen-letters") }

// More than fits into one message of elements, into a socket's usual buffer, and into
// one page of errors.
func TestLargestPolicyIsOneTransaction(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		_, p := planned(t, netconfig.MaxRules)
		for range 2 {
			must(t, h.Replace(p.Tables))
			if missing, err := h.Missing(p.Tables); err != nil || len(missing) > 0 {
				t.Fatalf("missing %q, %v", missing, err)
			}
		}
		many := ruleset.Table{Family: ruleset.Inet, Name: "t", Chains: []ruleset.Chain{{Name: "c"}}}
		for range 4096 {
			many.Chains[0].Rules = append(many.Chains[0].Rules, rule(do(count, accept), is(ruleset.Source, addr("192.0.2.1")), is(ruleset.Port, n16(80))))
		}
		must(t, h.Replace([]ruleset.Table{many}))
		if missing, err := h.Missing([]ruleset.Table{many}); err != nil || len(missing) > 0 {
			t.Errorf("missing %q, %v", missing, err)
		}
		// Every rule is refused: the first is named, and the next call finds an empty socket.
		many.Chains[0].Rules = slices.Repeat([]ruleset.Rule{rule(do(ruleset.Verdict{Kind: ruleset.Jump, Chain: "nowhere"}))}, 40000)
		many.Name = "u"
		if err := h.Replace([]ruleset.Table{many}); !errors.Is(err, fs.ErrNotExist) || netlinux.FirstFailed(err) != "a rule of chain c of table inet u" {
			t.Error(err)
		}
		must(t, h.Replace(p.Tables))
	})
}

func TestCallsAtTheSameTimeDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		c, p := planned(t, 10)
		must(t, h.Replace(p.Tables))
		var all sync.WaitGroup
		for i := range byte(8) {
			change := netplan.Attach(c, guest(fmt.Sprint("tap", i), 2+i))
			all.Go(func() {
				for range 20 {
					if err := errors.Join(h.Add(change), h.Remove(change), h.Remove(change)); err != nil {
						t.Error(err)
					}
					if tables, err := h.Tables(); err != nil || len(tables) != 2 {
						t.Errorf("tables %v, %v", tables, err)
					}
				}
			})
		}
		all.Wait()
		if missing, err := h.Missing(p.Tables); err != nil || len(missing) > 0 {
			t.Errorf("missing %q, %v", missing, err)
		}
	})
}

func TestLongCommentsAreCutAndStillOurs(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		p, err := netplan.Make(*(&netconfig.Config{}).WithDefaults(), netplan.Facts{}, netplan.Owner{ID: "0123456789ab", Dir: "/" + strings.Repeat("x", 4000)})
		must(t, err)
		for range 2 {
			must(t, h.Replace(p.Tables))
		}
		if missing, err := h.Missing(p.Tables); err != nil || len(missing) > 0 {
			t.Errorf("missing %d, %v", len(missing), err)
		}
		must(t, h.RemoveTables("smartvm-svbr0", p.Mark))
		if tables, err := h.Tables(); err != nil || len(tables) > 0 {
			t.Errorf("left %v, %v", tables, err)
		}
	})
}
