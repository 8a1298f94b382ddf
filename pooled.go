package smartvm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"reflect"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/lease"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/pool"
	"github.com/smartvm/smartvm/vmconfig"
)

// usesPool reports whether networks have to come from a pool: this process's user is
// neither root nor has the capability to make them.
func usesPool() (bool, error) {
	if os.Geteuid() == 0 {
		return false, nil
	}
	permitted, err := netlinux.Permitted()
	return !permitted, err
}

// pooledTAPs returns what takes TAPs from the pool of this process's user. What only
// root can do for a VM is refused.
func (l *launch) pooledTAPs(settings *vmconfig.Network) (func(context.Context, hostnet.Request) (*hostnet.TAP, error), error) {
	user := pool.Current()
	p, err := pool.Open(pool.Options{Dir: l.vm.manager.opts.PoolDir}, user)
	if err != nil {
		return nil, err
	}
	if err := fitsPool(p, l.vm.manager.opts.Network, settings, user); err != nil {
		return nil, err
	}
	return func(_ context.Context, r hostnet.Request) (*hostnet.TAP, error) { return l.takePooled(p, r) }, nil
}

// fitsPool refuses what a pool has not: its network is as root has made it.
func fitsPool(p *pool.Pool, network netconfig.Config, settings *vmconfig.Network, user pool.User) error {
	var faults []errcode.Detail
	add := func(field, message string) {
		faults = append(faults, errcode.Detail{Field: field, Message: message})
	}
	if len(settings.Forwards) > 0 {
		add("network.forwards", "only root can lead ports of the host to a guest")
	}
	if settings.Egress != nil {
		add("network.egress", "only root can decide what a single guest may reach")
	}
	wanted := network.Bridge
	network.Bridge = ""
	if wanted != "" && wanted != netconfig.DefaultBridge && wanted != p.Bridge {
		add("network", fmt.Sprintf("%s is not the network of this user's pool, which is %s", wanted, p.Bridge))
	}
	if network.Subnet == p.Subnet {
		network.Subnet = netconfig.Config{}.Subnet
	}
	if !reflect.ValueOf(network).IsZero() {
		add("network", "only root can say what a network is like")
	}
	if len(faults) == 0 {
		return nil
	}
	return &Error{
		Code: errcode.NotPermitted, Op: "join network", Subject: p.Bridge, Details: faults,
		Hint: "leave it out, start the VM as root, or let an administrator change the whole pool: " + user.Command() + " with --egress, --allow, --deny or --subnet",
	}
}

// takePooled leases a TAP, which the VM's ledger gives back.
func (l *launch) takePooled(p *pool.Pool, r hostnet.Request) (tap *hostnet.TAP, err error) {
	host, err := netlinux.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	search := &poolSearch{pool: p, host: host, mac: strings.ToLower(r.MAC)}
	taken, err := (&lease.Desk{Dir: p.Leases}).Take("tap", l.vm.Dir(), search.free(), func(le *lease.Lease, effect func() error) error {
		return l.ledger.Make(le, effect)
	})
	if err := cmp.Or(search.err, err); err != nil {
		return nil, search.explain(err)
	}
	for i := range p.TAPs {
		if p.TAPs[i].Name == taken.Name {
			found := p.TAPs[i].TAP
			found.VM, found.Iface = r.VM, r.Iface
			return &found, nil
		}
	}
	return nil, fs.ErrNotExist // a lease has the name that it was asked for
}

// poolSearch is the search for a TAP in a pool.
type poolSearch struct {
	pool *pool.Pool
	host *netlinux.Host
	mac  string // that the guest has to have; "" for any

	gone, others int // TAPs that are not there, and those with another MAC address
	err          error
}

// free are the TAPs that no process has open. Whether a VM that is just being started
// has one is what its lease says; and a VM may be without lease, if somebody has
// removed its files.
func (s *poolSearch) free() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range s.pool.TAPs {
			t := &s.pool.TAPs[i]
			link, err := s.host.Link(t.Name)
			switch {
			case errors.Is(err, fs.ErrNotExist), err == nil && link.Owner != s.pool.User.UID:
				s.gone++
			case err != nil:
				s.err = err
				return
			case s.mac != "" && s.mac != t.MAC:
				s.others++
			case !link.Carrier && !yield(t.Name):
				return
			}
		}
	}
}

// explain says why there is no TAP.
func (s *poolSearch) explain(err error) error {
	if !errors.Is(err, lease.ErrNone) {
		return err
	}
	command := s.pool.User.Command()
	all := len(s.pool.TAPs)
	e := &Error{Code: errcode.IPExhausted, Op: "take tap", Subject: s.pool.Bridge, Err: fmt.Errorf("VMs use all %d TAP devices of the pool", all)}
	e.Hint = fmt.Sprintf("clean up VMs (smartvm ps, smartvm gc), or let an administrator run: %s --taps %d", command, 2*all)
	switch {
	case s.others > 0:
		e.Code = errcode.InvalidConfig
		e.Err = fmt.Errorf("no free TAP device of the pool is for the MAC address %s", s.mac)
		e.Hint = "leave guest_mac out, or take one of: smartvm setup --list --json"
	case s.gone > 0:
		e.Code = errcode.NotPermitted
		e.Err = fmt.Errorf("of the pool's %d TAP devices %d are not there, and VMs use the others", all, s.gone)
		e.Hint = "let an administrator run: " + command
	}
	return e
}
