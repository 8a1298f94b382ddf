package hostnet

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/netconfig"
)

// Options configure a [Network].
type Options struct {
	// Dir is the runtime directory, private to this user. The networks of one runtime
	// directory share addresses and ports; those of others are left alone.
	Dir string
	// Config is the network. What it leaves out is as it is, when the network is
	// there, and else has the defaults of [netconfig.Config].
	Config netconfig.Config
	// ReuseAddresses lets an address go to another interface once all others have been
	// used. Default: this value gives no address twice.
	ReuseAddresses bool
	// Logger is told what no return value can tell. Default: nothing is logged.
	Logger *slog.Logger
}

// Network is one network, seen from one process. Its methods may be called from
// several goroutines.
type Network struct {
	place place
	reuse bool
	log   *slog.Logger
	way   *way

	turn chan struct{} // full while somebody begins or ends to hold the network

	mu     sync.Mutex
	config netconfig.Config // as it was given, with the policy that SetEgress has set
	user   *ledger.Ledger   // of what this value holds and has made; nil as long as that is nothing
	closed bool
	known  *known              // what the network is like; nil: not looked at yet
	given  map[netip.Addr]bool // addresses that were handed out
	taps   map[string]*nic     // by name, made by CreateTAP
}

// New returns a network. Nothing of it is looked at or made before a method needs
// it. The error is that of [netconfig.Config.Validate].
func New(opts Options) (*Network, error) {
	if err := opts.Config.Validate(); err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	config := *opts.Config.Clone()
	return &Network{
		place:  placeOf(opts.Dir, config.WithDefaults().Bridge),
		config: config, reuse: opts.ReuseAddresses, way: &way{}, log: opts.Logger,
		turn: make(chan struct{}, 1), given: map[netip.Addr]bool{}, taps: map[string]*nic{},
	}, nil
}

// Bridge returns the name of the network's bridge.
func (n *Network) Bridge() string { return n.place.bridge }

// kernel returns the way to the kernel, and what is called when it was used.
func (n *Network) kernel() (host *netlinux.Host, giveBack func(), err error) {
	n.mu.Lock()
	closed := n.closed
	n.mu.Unlock()
	if closed {
		return nil, nil, failed(errcode.InvalidState, "use network", n.place.bridge, errors.New("it has been closed"))
	}
	host, done, err := n.way.borrow()
	if err != nil {
		return nil, nil, err
	}
	return host, func() { _ = done() }, nil
}

// Plan returns the network as it is to be in the kernel, as text: with its guests if
// it is up. The host is only looked at.
func (n *Network) Plan(ctx context.Context) (string, error) {
	host, giveBack, err := n.kernel()
	if err != nil {
		return "", err
	}
	defer giveBack()
	there, err := n.place.readAll()
	if err != nil {
		return "", err
	}
	config, err := n.join(there)
	if err != nil {
		return "", err
	}
	if there == nil {
		there = &stored{}
		if err := n.place.checkOthers(config); err != nil {
			return "", err
		}
	}
	owner, err := n.place.peekOwner()
	if err != nil {
		return "", err
	}
	plan, err := makePlan(ctx, host, config, there, owner)
	if err != nil {
		return "", err
	}
	guests, err := n.place.guests(host, owner.Mark(n.place.bridge))
	if err != nil {
		return "", err
	}
	return plan.With(guests.list).Text(), nil
}

// Cleanup removes the TAPs that this value has made and lets go of the network, which
// goes if nobody else uses it. It goes on past errors, and can be repeated.
func (n *Network) Cleanup(ctx context.Context) error {
	giveTurn, err := n.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer giveTurn()
	user := n.peekHolder()
	if user == nil {
		return nil
	}
	if err := user.Release(ctx); err != nil {
		return failed(errcode.CleanupFailed, "clean up network", n.place.bridge, err)
	}
	if err := user.Destroy(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.user = nil
	clear(n.taps)
	return nil
}

// Close is Cleanup for what this value itself uses, and gives back what it has in this
// process: further calls of other methods are INVALID_STATE. VMs keep the network as
// long as they need it. What can't be removed is left to [GC].
func (n *Network) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := n.Cleanup(ctx)
	n.mu.Lock()
	user := n.user
	n.user, n.closed = nil, true
	clear(n.taps)
	n.mu.Unlock()
	if user != nil {
		err = errors.Join(err, user.Close())
	}
	return errors.Join(err, n.way.close())
}
