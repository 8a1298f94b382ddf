package hostnet

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// checkForeign refuses what others have under a name or a number of ours. It is never
// replaced, and must not get into our records: they say what is removed.
func (m *maker) checkForeign(context.Context) error {
	if err := m.checkTables(); err != nil {
		return err
	}
	return m.checkRoutes()
}

func (m *maker) checkTables() error {
	all, err := m.host.TablesNamed(netplan.TableName(m.place.bridge))
	if err != nil {
		return err
	}
	for _, t := range all {
		ours := slices.ContainsFunc(m.plan.Tables, func(o ruleset.Table) bool { return o.Family == t.Family })
		if mark, _ := strings.CutSuffix(t.Comment, netplan.ForwardingWasOff); !ours || mark == m.known.mark {
			continue
		}
		return &errcode.Error{
			Code: errcode.BridgeSetupFailed, Op: "make tables", Subject: fmt.Sprintf("table %s %s", t.Family, t.Name),
			Err: whoseMark(t.Comment, "table"), Hint: "choose another name for the bridge, and another subnet",
		}
	}
	return nil
}

// checkRoutes demands that the routing table of the tunnel has nothing but what this
// network has recorded: a route of somebody else could lead guests past the tunnel,
// and the same one twice would go with the first of its owners. wg-quick begins to
// count its tables where the default of a network's is.
func (m *maker) checkRoutes() error {
	if len(m.plan.Routes) == 0 {
		return nil
	}
	table := m.plan.Routes[0].Table
	there, err := m.host.Routes(table)
	if err != nil {
		return err
	}
	for _, r := range there {
		// What somebody adds to the table of a network that is up is his to decide.
		if m.recorded(&route{Route: r}) || m.known.Complete && !slices.Contains(m.plan.Routes, r) {
			continue
		}
		return &errcode.Error{
			Code: errcode.WireGuardSetupFailed, Op: "use routing table", Subject: strconv.Itoa(table),
			Err:  fmt.Errorf("it has a route that is not of this network: %v", r),
			Hint: "choose another number for the network's table by WireGuard.RouteTable (route_table)",
		}
	}
	return nil
}

// recorded reports whether the network's ledger has the resource.
func (m *maker) recorded(r ledger.Resource) bool {
	return slices.ContainsFunc(m.ledger.View().Resources, func(there ledger.Resource) bool {
		return there.Kind() == r.Kind() && same(there, r)
	})
}

// whose says who has made a link that has a name of ours.
func whose(l netlinux.Link) error {
	kind := l.Kind
	if kind == "" {
		kind = "link"
	}
	return whoseMark(l.Alias, kind)
}

// whoseMark says who has made something with a name of ours, by the mark on it.
func whoseMark(mark, kind string) error {
	if rest, ok := strings.CutPrefix(mark, "smartvm "); ok {
		if words := strings.SplitN(rest, " ", 3); len(words) == 3 {
			dir, _ := strings.CutSuffix(words[2], netplan.ForwardingWasOff)
			return fmt.Errorf("it belongs to the smartvm %s of the runtime directory %s", words[0], dir)
		}
	}
	return fmt.Errorf("a %s of that name is there, and smartvm has not made it", kind)
}
