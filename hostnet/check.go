package hostnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
)

// Fault is a part of a network that is not what it is planned to be, since somebody
// has removed or changed it.
type Fault struct {
	What string `json:"what"`
	// Effect is what it means for guests.
	Effect string `json:"effect"`
	// Fix is what to do about it.
	Fix string `json:"fix"`
}

// Check compares the network with what it is planned to be.
func (n *Network) Check(ctx context.Context) ([]Fault, error) {
	host, giveBack, err := n.kernel()
	if err != nil {
		return nil, err
	}
	defer giveBack()
	if _, err := n.place.existing(); err != nil {
		return nil, err
	}
	c := &checker{host: host, fix: "smartvm net repair " + n.place.bridge}
	err = n.place.locked(ctx, host, func() error {
		there, err := n.place.existing()
		if err != nil {
			return err
		}
		if err := there.elsewhere(); err != nil {
			return err
		}
		if c.plan, c.guests, err = n.planOf(ctx, host, there); err != nil {
			return err
		}
		return c.all(ctx)
	})
	return c.faults, err
}

// Repair makes the network again what it is planned to be. What is right is left
// alone, so that guests keep their connections. A tunnel that was made for the
// network and is gone can only be made again by a value that has its keys in its
// config: without them its absence is an error, when all else is repaired.
func (n *Network) Repair(ctx context.Context) error {
	host, giveBack, err := n.kernel()
	if err != nil {
		return err
	}
	defer giveBack()
	if _, err := n.place.existing(); err != nil {
		return err
	}
	return n.place.locked(ctx, host, func() error {
		if _, err := n.place.existing(); err != nil {
			return err
		}
		k, err := n.ensure(ctx, host)
		if err != nil {
			return err
		}
		if w := k.Config.WireGuard; w != nil && w.Tunnel != nil {
			_, err = host.Link(w.Name())
		}
		if errors.Is(err, fs.ErrNotExist) {
			e := failed(errcode.WireGuardSetupFailed, "repair network", n.place.bridge, fmt.Errorf("the tunnel %s is gone", k.Config.WireGuard.Name()))
			e.Hint = tunnelFix
			return e
		}
		return err
	})
}

const tunnelFix = "start a VM with the same WireGuard file: its keys are stored nowhere"

// checker gathers faults.
type checker struct {
	host   *netlinux.Host
	plan   *netplan.Plan
	guests *guests
	fix    string
	faults []Fault
}

func (c *checker) add(effect, format string, args ...any) {
	c.faults = append(c.faults, Fault{fmt.Sprintf(format, args...), effect, c.fix})
}

func (c *checker) all(ctx context.Context) error {
	for _, check := range []func(context.Context) error{c.bridge, c.taken, c.ports, c.tunnel, c.settings, c.routing, c.tables, c.accepts} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

const (
	effectCutOff = "guests reach nothing"
	effectNoWay  = "guests reach nothing beyond the host"
)

func (c *checker) bridge(context.Context) error {
	want := c.plan.Bridge
	bridge, err := c.host.Link(want.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.add(effectCutOff, "the bridge %s is gone", want.Name)
		return nil
	case err != nil:
		return err
	case bridge.Alias != c.plan.Mark:
		c.add(effectCutOff, "the bridge %s is not the network's: %v", want.Name, whose(bridge))
		c.faults[len(c.faults)-1].Fix = "rename or remove that one, then: " + c.fix
		return nil
	case !bridge.Up:
		c.add(effectCutOff, "the bridge %s is down", want.Name)
		return nil
	case bridge.MTU != want.MTU:
		c.add("large packets may be lost", "the bridge %s has the MTU %d instead of %d", want.Name, bridge.MTU, want.MTU)
	}
	// The kernel makes this route of the bridge's address.
	there, err := c.host.HasRoute(netplan.Route{Table: unix.RT_TABLE_MAIN, To: want.Addr.Masked(), Iface: want.Name})
	if err == nil && !there {
		c.add(effectCutOff, "the bridge %s has lost its address %v, or the route to its subnet", want.Name, want.Addr)
	}
	return err
}

// taken finds who has taken addresses of the subnet.
func (c *checker) taken(ctx context.Context) error {
	facts, err := c.host.Facts(ctx, c.plan.Bridge.Name, "")
	if err != nil {
		return err
	}
	for _, r := range routesInto(facts.Routes, c.plan.Bridge.Addr.Masked()) {
		c.add("guests with these addresses are not reached", "the host has another route to %v, through %s", r.To, r.Iface)
		c.faults[len(c.faults)-1].Fix = "remove that route, or use another subnet"
	}
	return nil
}

// ports compares the guests' TAPs.
func (c *checker) ports(context.Context) error {
	bridge, err := c.host.Link(c.plan.Bridge.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // see bridge
	}
	if err != nil {
		return err
	}
	for i, l := range c.guests.links {
		if l.Master != bridge.Index || !l.Up {
			c.add("the guest reaches nothing", "%s of vm %s is not connected to the bridge, or down", l.Name, c.guests.list[i].VM)
		}
	}
	for i := range c.guests.without {
		l := &c.guests.without[i]
		c.add("the guest reaches nothing", "%s of vm %s is gone", l.TAP, l.VM)
		c.faults[len(c.faults)-1].Fix = "if the VM runs, start it again; if not: smartvm gc"
	}
	return nil
}

func (c *checker) tunnel(context.Context) error {
	w := c.plan.WireGuard
	if w == nil {
		return nil
	}
	effect := "guests' traffic is blocked"
	if !slices.ContainsFunc(c.plan.Rules, func(r netplan.RoutingRule) bool { return r.Unreachable }) {
		effect = "guests' traffic takes the host's routes"
	}
	tunnel, err := c.host.Link(w.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.add(effect, "the WireGuard interface %s is gone", w.Name)
		if w.Tunnel != nil {
			c.faults[len(c.faults)-1].Fix = tunnelFix
		} else {
			c.faults[len(c.faults)-1].Fix = "bring the interface up, then: " + c.fix
		}
	case err != nil:
		return err
	case !tunnel.Up:
		c.add(effect, "the WireGuard interface %s is down", w.Name)
	}
	return nil
}

func (c *checker) settings(context.Context) error {
	for _, s := range c.plan.Sysctls {
		value, err := c.host.Sysctl(s.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // of an interface that is gone, see links
		}
		if err != nil {
			return err
		}
		if value != s.Value {
			effect := "guests may reach less or more than they should"
			if s.Path == forwardingPath {
				effect = effectNoWay
			}
			c.add(effect, "the setting %s is %s instead of %s", strings.ReplaceAll(s.Path, "/", "."), value, s.Value)
		}
	}
	return nil
}

func (c *checker) routing(context.Context) error {
	for _, r := range c.plan.Rules {
		switch there, err := c.host.HasRule(r); {
		case err != nil:
			return err
		case !there:
			c.add("guests' traffic may take another way than the tunnel", "the routing rule %s is gone", r)
		}
	}
	for _, r := range c.plan.Routes {
		if _, err := c.host.Link(r.Iface); errors.Is(err, fs.ErrNotExist) {
			continue // see links
		}
		switch there, err := c.host.HasRoute(r); {
		case err != nil:
			return err
		case !there:
			c.add("guests' traffic does not reach the tunnel", "the route %s is gone", r)
		}
	}
	return nil
}

func (c *checker) tables(context.Context) error {
	missing, err := c.host.Missing(c.plan.Tables)
	for _, m := range missing {
		c.add("guests are not kept from what they must not reach, or reach nothing", "%s", m)
	}
	return err
}

func (c *checker) accepts(context.Context) error {
	for _, a := range c.plan.Accepts {
		switch there, err := c.host.HasAccept(a, c.plan.Mark); {
		case err != nil:
			return err
		case !there:
			c.add(effectNoWay,
				"chain %s %s %s (%s) drops guests' traffic: it was loaded after the network was made", a.Family, a.Table, a.Chain, a.Why)
		}
	}
	return nil
}
