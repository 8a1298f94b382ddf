package hostnet

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/netconfig"
)

// makePlan plans a network without its guests. The subnet of one that is there is not
// refused if somebody has taken its addresses since: what it has is to be kept up.
func makePlan(ctx context.Context, host *netlinux.Host, config *netconfig.Config, there *stored, owner netplan.Owner) (*netplan.Plan, error) {
	facts, err := host.Facts(ctx, config.Bridge, wireGuardName(config))
	if err != nil {
		return nil, err
	}
	planned := *config
	if there.Complete {
		facts.Routes = slices.DeleteFunc(facts.Routes, func(r netplan.HostRoute) bool { return r.To.Overlaps(config.Subnet) })
		planned.MTU, planned.DNS = there.MTU, there.DNS // guests have been told
	}
	plan, err := netplan.Make(planned, facts, owner)
	if err != nil {
		return nil, err
	}
	plan.TurnedForwardingOn = there.TurnedForwardingOn
	return plan, nil
}

func wireGuardName(c *netconfig.Config) string {
	if c.WireGuard == nil {
		return ""
	}
	return c.WireGuard.Name()
}

// routesInto returns the ways by which the host reaches addresses of a subnet and
// that do not lead to the bridge. A wider one only counts where there is none.
func routesInto(routes []netplan.HostRoute, subnet netip.Prefix) []netplan.HostRoute {
	return slices.DeleteFunc(slices.Clone(routes), func(r netplan.HostRoute) bool {
		return !r.To.Overlaps(subnet) || r.To.Bits() < subnet.Bits()
	})
}

// checkOthers refuses what another network of the runtime directory has, even if that
// is not in the kernel at the moment.
func (p place) checkOthers(c *netconfig.Config) error {
	names, err := ledger.Names(p.networks())
	if err != nil {
		return err
	}
	for _, name := range names {
		other, err := placeOf(p.runtime, name).read()
		if err != nil {
			return err
		}
		if name == p.bridge || other == nil || !other.Complete {
			continue
		}
		conflict := func(code errcode.Code, what, hint string) error {
			return &errcode.Error{
				Code: code, Op: "compare networks", Subject: p.bridge, Hint: hint, Err: fmt.Errorf("network %s has %s", name, what),
			}
		}
		if other.Config.Subnet.Overlaps(c.Subnet) {
			return conflict(errcode.InvalidSubnet, fmt.Sprintf("subnet %v, which overlaps with %v", other.Config.Subnet, c.Subnet),
				"choose another subnet, or use that network")
		}
		if table := routeTable(c); table != 0 && table == routeTable(&other.Config) {
			return conflict(errcode.InvalidWireGuardConfig, fmt.Sprintf("routing table %d", table), "choose another route_table")
		}
	}
	return nil
}

// routeTable returns the routing table that a network uses, 0 if it has none.
func routeTable(c *netconfig.Config) int {
	if c.WireGuard == nil || c.WireGuard.KeepDefaultRoute {
		return 0
	}
	return c.WireGuard.RouteTable
}

// guests are the leases of a network whose TAPs are there: a lease without is one
// whose owner was killed, and no chain can be bound to its device.
type guests struct {
	list    []netplan.Guest
	links   []netlinux.Link // of list
	without []lease
}

func (p place) guests(host *netlinux.Host, mark string) (*guests, error) {
	leases, err := p.readLeases()
	if err != nil {
		return nil, err
	}
	g := &guests{}
	if len(leases) == 0 {
		return g, nil
	}
	all, err := host.Links()
	if err != nil {
		return nil, err
	}
	links := map[string]netlinux.Link{}
	for _, l := range all {
		links[l.Name] = l
	}
	for _, l := range leases {
		if link, there := links[l.TAP]; there && (link.Alias == mark || link.Alias == "") {
			g.list = append(g.list, l.Guest)
			g.links = append(g.links, link)
		} else {
			g.without = append(g.without, l)
		}
	}
	return g, nil
}
