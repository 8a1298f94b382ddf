package hostnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
)

// nic is an interface in a ledger: its TAP, rules and address.
type nic struct {
	through

	Runtime string     `json:"runtime"`
	Bridge  string     `json:"bridge"`
	TAP     string     `json:"tap"`
	Mark    string     `json:"mark"`
	Index   int        `json:"index,omitempty"` // of the TAP
	Addr    netip.Addr `json:"addr"`
	Ledger  string     `json:"ledger"` // the directory of the ledger that this is recorded in

	// Clone is set when the link is the end of a wire to the namespace of a clone.
	Clone bool `json:"clone,omitempty"`

	owner     int        // who may open the TAP
	namespace *Namespace // of a clone
	// foreign is set when somebody else has made a link of that name since the name
	// was chosen.
	foreign bool
}

// Kind implements ledger.Resource.
func (c *nic) Kind() string { return "nic" }

// String implements ledger.Resource.
func (c *nic) String() string {
	if c.Clone {
		return fmt.Sprintf("port %s on %s, address %v", c.TAP, c.Bridge, c.Addr)
	}
	return fmt.Sprintf("tap %s on %s, address %v", c.TAP, c.Bridge, c.Addr)
}

// Release implements ledger.Resource: first the device, so that nothing is sent
// without rules, then the rules and the address, with the last one the network.
func (c *nic) Release(ctx context.Context) error {
	return c.onHost(func(h *netlinux.Host) error { return c.release(ctx, h) })
}

func (c *nic) release(ctx context.Context, host *netlinux.Host) error {
	p := placeOf(c.Runtime, c.Bridge)
	if err := c.removeTAP(ctx, host, p); err != nil {
		return err
	}
	fault.Point("release nic: TAP gone")
	last, err := c.giveUp(ctx, host, p)
	if err != nil || !last {
		return err
	}
	return p.tearDown(ctx, host)
}

// removeTAP holds the shared lock of the rules: who replaces tables must not meet a
// device that is on its way out.
func (c *nic) removeTAP(ctx context.Context, host *netlinux.Host, p place) error {
	if c.foreign {
		return nil
	}
	held, err := p.lock(ctx)
	if err != nil {
		return err
	}
	defer held.unlock()
	if err := held.shareRules(ctx); err != nil {
		return err
	}
	return host.DeleteLink(ctx, c.TAP, c.Index, c.Mark)
}

// giveUp removes the rules and the lease, unless they are gone, and reports whether
// the network is there and nobody uses it any more. The lock of the records keeps
// away who would put rules of this lease into new tables.
func (c *nic) giveUp(ctx context.Context, host *netlinux.Host, p place) (last bool, err error) {
	held, err := p.lock(ctx)
	if err != nil {
		return false, err
	}
	defer held.unlock()
	there, err := p.read()
	if err != nil || there == nil {
		return false, err
	}
	l, err := c.lease(p, there)
	if err != nil {
		return false, err
	}
	if l != nil {
		if err := host.Remove(netplan.Attach(there.Config, l.Guest)); err != nil {
			return false, err
		}
		fault.Point("release nic: rules gone")
		if len(l.Forwards) > 0 { // or those who sent to a forwarded port go on to send to this address
			if err := host.ForgetFlows(netip.PrefixFrom(l.Addr, l.Addr.BitLen())); err != nil {
				return false, err
			}
		}
		if err := p.removeLease(l); err != nil {
			return false, err
		}
	}
	used, err := p.used()
	return !used, err
}

// lease returns the lease of the interface, nil when it has none (any more): its
// address may be another's by now.
func (c *nic) lease(p place, there *stored) (*lease, error) {
	l, err := p.readLease(c.Addr, &there.Config)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // there is none, which is no error
	case err != nil:
		return nil, err
	case l.TAP != c.TAP || l.Ledger != c.Ledger:
		return nil, nil //nolint:nilnil // it is somebody else's
	}
	return l, nil
}
