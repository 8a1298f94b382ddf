package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/netconfig"
)

// DefaultTAPs is how many devices a pool has, and so how many interfaces a user's VMs
// can have at a time.
const DefaultTAPs = 8

// maxTAPs is what a bridge can have as ports.
const maxTAPs = 1023

// Request is what a pool is to be like. What it leaves out has its default when the
// pool is made, and stays as it is when it is there.
type Request struct {
	User User
	// TAPs is how many devices there are. Default [DefaultTAPs].
	TAPs int
	// Subnet has the guests' addresses. Default: the first /24 of 172.31.0.0/16 that is free
	// on this host.
	Subnet netip.Prefix
	// Egress is what all guests of the pool may reach. Default: everything but what
	// networks forbid anyway. Only this can be changed while the user's VMs run.
	Egress *netconfig.Policy
}

func (r *Request) validate() error {
	if err := r.User.validate(); err != nil {
		return err
	}
	if r.TAPs < 0 || r.TAPs > maxTAPs {
		return &errcode.Error{
			Code: errcode.InvalidConfig, Op: "set up pool", Subject: r.User.Name,
			Details: []errcode.Detail{{Field: "taps", Message: fmt.Sprintf("%d is no number from 1 to %d", r.TAPs, maxTAPs)}},
		}
	}
	c := netconfig.Config{Bridge: r.User.bridge(), Subnet: r.Subnet, Egress: r.Egress}
	if err := c.Validate(); err != nil {
		return err
	}
	if c = *c.WithDefaults(); r.TAPs > c.Capacity() {
		return &errcode.Error{
			Code: errcode.InvalidSubnet, Op: "set up pool", Subject: r.User.Name,
			Err: fmt.Errorf("%v has addresses for %d guests, not for %d", c.Subnet, c.Capacity(), r.TAPs), Hint: "choose a larger subnet or fewer TAPs",
		}
	}
	return nil
}

// over is the request with what it leaves out as it is.
func (r *Request) over(before Request) Request {
	out := *r
	out.TAPs = cmp.Or(r.TAPs, before.TAPs)
	out.Subnet = cmp.Or(r.Subnet, before.Subnet)
	if r.Egress == nil {
		out.Egress = before.Egress
	}
	return out
}

// SetUp makes the pool of a user, or repairs and changes the one that is there. It can
// be repeated, also after it was killed. It needs root.
//
// Errors: NOT_PERMITTED, NETWORK_IN_USE if the user's VMs would lose what is to be
// changed, INVALID_CONFIG, INVALID_SUBNET, HOST_UNSUPPORTED if /dev has no access
// control lists, and those of [hostnet.Network.Attach]. When it fails, a pool that
// was not there is not there.
func SetUp(ctx context.Context, opts Options, r Request) (*Pool, error) {
	p, err := setUp(ctx, opts.withDefaults(), r)
	if err != nil {
		return nil, failed(errcode.NetworkFailed, "set up pool", r.User.Name, err)
	}
	return p, nil
}

func setUp(ctx context.Context, opts Options, r Request) (*Pool, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	r.Subnet = r.Subnet.Masked()
	s, err := enter(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.sweep(ctx); err != nil {
		return nil, err
	}
	w, err := s.find(ctx, r.User)
	if err != nil {
		return nil, err
	}
	if w != nil {
		r = r.over(w.record.Request)
		kept, err := w.keep(ctx, r)
		if err != nil || kept {
			return w.pool, errors.Join(err, w.ledger.Close())
		}
		if err := w.demolish(ctx, false); err != nil {
			return nil, err
		}
	}
	p, err := s.build(ctx, r)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		return nil, errors.Join(err, s.prune(ctx))
	}
	return p, nil
}

// undoTimeout bounds what has to be done after the caller's context has ended.
const undoTimeout = time.Minute

// keep makes the pool that is there what it is to be, and reports false if it has to
// be made anew.
func (w *work) keep(ctx context.Context, r Request) (bool, error) {
	if !w.record.Complete || !w.pool.here() || r.TAPs != len(w.pool.TAPs) || r.Subnet != w.pool.Subnet {
		return false, nil
	}
	n, err := hostnet.New(hostnet.Options{Dir: w.site.state(), Config: netconfig.Config{Bridge: w.pool.Bridge}, Logger: w.site.Logger})
	if err != nil {
		return false, err
	}
	kept, err := w.keepOn(ctx, n, r)
	return kept, errors.Join(err, n.Close()) //nolint:contextcheck // a Close has none, and bounds its waits itself
}

func (w *work) keepOn(ctx context.Context, n *hostnet.Network, r Request) (bool, error) {
	err := n.Repair(ctx)
	if errors.Is(err, errcode.NetworkNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if whole, err := w.ownTAPs(); err != nil || !whole {
		return false, err
	}
	if !reflect.DeepEqual(r.Egress.WithDefaults(), w.pool.Egress.WithDefaults()) {
		if err := n.SetEgress(ctx, r.Egress); err != nil {
			return false, err
		}
	}
	w.pool.User, w.pool.Egress = r.User, r.Egress.WithDefaults()
	if err := errors.Join(w.giveAccess(), w.makeLeases()); err != nil {
		return false, err
	}
	w.record = record{Pool: w.pool, Request: r, Complete: true}
	if err := w.ledger.Describe(w.record); err != nil {
		return false, err
	}
	return true, w.writeNote()
}

// build makes a pool that is not there.
func (s *site) build(ctx context.Context, r Request) (*Pool, error) {
	r = r.over(Request{TAPs: DefaultTAPs})
	config := netconfig.Config{Bridge: r.User.bridge(), Subnet: r.Subnet, Egress: r.Egress}
	if !r.Subnet.IsValid() {
		subnet, err := s.chooseSubnet(ctx, r.User)
		if err != nil {
			return nil, err
		}
		r.Subnet, config.Subnet = subnet, subnet
		if err := r.validate(); err != nil { // it may be too small
			return nil, err
		}
	} else if err := s.tryNetwork(ctx, config); err != nil { // before anything is made
		return nil, err
	}
	config = *config.WithDefaults()
	r.Subnet = config.Subnet
	w, err := s.begin(Pool{
		User: r.User, Bridge: config.Bridge, Subnet: config.Subnet, Egress: config.Egress, TAPs: []TAP{},
		Leases: leasesOf(s.SharedMemory, r.User), Boot: proc.BootID(), Made: time.Now().Round(0),
	}, r)
	if err != nil {
		return nil, err
	}
	if err := w.fill(ctx, config); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		return nil, errors.Join(err, w.demolish(ctx, true))
	}
	return w.pool, w.ledger.Close()
}

// fill makes all that a pool has. The user learns of it last.
func (w *work) fill(ctx context.Context, config netconfig.Config) error {
	if err := w.giveAccess(); err != nil {
		return err
	}
	if err := w.makeLeases(); err != nil {
		return err
	}
	n, err := hostnet.New(hostnet.Options{Dir: w.site.state(), Config: config, Logger: w.site.Logger})
	if err != nil {
		return err
	}
	err = w.attach(ctx, n)
	if err := errors.Join(err, n.Close()); err != nil { //nolint:contextcheck // a Close has none, and bounds its waits itself
		return err
	}
	if err := w.writeNote(); err != nil {
		return err
	}
	w.record.Complete = true
	return w.ledger.Describe(w.record)
}

// attach makes the TAPs, each with all its rules in place before it is up.
func (w *work) attach(ctx context.Context, n *hostnet.Network) error {
	for i := range w.record.Request.TAPs {
		tap, err := n.Attach(ctx, w.ledger, w.ledger.Dir(), hostnet.Request{
			VM: "pool-" + w.pool.User.key(), Iface: fmt.Sprintf("tap%d", i), Owner: w.pool.User.UID,
		})
		if err != nil {
			return err
		}
		w.pool.TAPs = append(w.pool.TAPs, TAP{*tap, tap.IPArgument("eth0")})
	}
	return nil
}
