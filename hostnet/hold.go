package hostnet

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
)

// Hold keeps the network up until Cleanup or Close, also while no guest is on it. It
// is made if it is not there. Further calls do nothing. Errors are those of Attach
// about the network.
func (n *Network) Hold(ctx context.Context) error {
	_, err := n.holder(ctx)
	return err
}

// holder returns the ledger of this value, whose first record is that it holds the
// network.
func (n *Network) holder(ctx context.Context) (*ledger.Ledger, error) {
	if user := n.peekHolder(); user != nil {
		return user, nil
	}
	giveTurn, err := n.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer giveTurn()
	if user := n.peekHolder(); user != nil {
		return user, nil
	}
	if err := n.place.make(); err != nil {
		return nil, err
	}
	user, err := ledger.Create(n.place.holders(), rand.Text())
	if err != nil {
		return nil, err
	}
	h := &hold{through: through{n.way}, Runtime: n.place.runtime, Bridge: n.place.bridge, User: filepath.Base(user.Dir())}
	if err := user.Make(h, func() error { return n.use(ctx, h) }); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		return nil, errors.Join(failed(errcode.NetworkFailed, "hold network", n.place.bridge, err), giveBack(ctx, user))
	}
	n.setHolder(user)
	return user, nil
}

func (n *Network) peekHolder() *ledger.Ledger {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.user
}

func (n *Network) setHolder(user *ledger.Ledger) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.user = user
}

// takeTurn waits until nobody else in this process begins or ends to hold the network.
func (n *Network) takeTurn(ctx context.Context) (give func(), err error) {
	select {
	case n.turn <- struct{}{}:
		return func() { <-n.turn }, nil
	case <-ctx.Done():
		return nil, failed(errcode.Cancelled, "wait for network", n.place.bridge, context.Cause(ctx))
	}
}

// use makes the network, if need be, and a file that says who uses it.
func (n *Network) use(ctx context.Context, h *hold) error {
	host, giveBack, err := n.kernel()
	if err != nil {
		return err
	}
	defer giveBack()
	held, _, err := n.enter(ctx, host)
	if err != nil {
		return err
	}
	defer held.unlock()
	return writeFile(h.path(), nil)
}

// hold is the use of a network by a process, in the ledger of that process.
type hold struct {
	through

	Runtime string `json:"runtime"`
	Bridge  string `json:"bridge"`
	User    string `json:"user"`
}

func (h *hold) path() string { return filepath.Join(placeOf(h.Runtime, h.Bridge).users(), h.User) }

// Kind implements ledger.Resource.
func (h *hold) Kind() string { return "hold" }

// String implements ledger.Resource.
func (h *hold) String() string { return "hold on network " + h.Bridge }

// Release implements ledger.Resource.
func (h *hold) Release(ctx context.Context) error {
	last, err := h.giveUp(ctx)
	if err != nil || !last {
		return err
	}
	return h.onHost(func(host *netlinux.Host) error { return placeOf(h.Runtime, h.Bridge).tearDown(ctx, host) })
}

// giveUp reports whether the network is there and nobody uses it any more.
func (h *hold) giveUp(ctx context.Context) (last bool, err error) {
	p := placeOf(h.Runtime, h.Bridge)
	held, err := p.lock(ctx)
	if err != nil {
		return false, err
	}
	defer held.unlock()
	if err := remove(h.path()); err != nil {
		return false, err
	}
	fault.Point("release hold: gone")
	if there, err := p.read(); err != nil || there == nil {
		return false, err
	}
	used, err := p.used()
	return !used, err
}

// CreateTAP makes a TAP on the network for a VM that is given it as host_dev_name. It
// stays until DeleteTAP, Cleanup or Close. Errors are those of Attach.
func (n *Network) CreateTAP(ctx context.Context, vmID, ifaceID string) (*TAP, error) {
	user, err := n.holder(ctx)
	if err != nil {
		return nil, err
	}
	made := &made{Ledger: user}
	tap, err := n.Attach(ctx, made, user.Dir(), Request{VM: vmID, Iface: ifaceID})
	if err != nil && made.nic != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		return nil, errors.Join(err, user.ReleaseOne(ctx, made.nic))
	}
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taps[tap.Name] = made.nic
	return tap, nil
}

// made remembers the interface that was recorded.
type made struct {
	*ledger.Ledger

	nic *nic
}

// Make implements Recorder.
func (m *made) Make(r ledger.Resource, effect func() error) error {
	m.nic, _ = r.(*nic) // nothing else is made here
	return m.Ledger.Make(r, effect)
}

// DeleteTAP removes a TAP that CreateTAP has made, with its rules and its address.
func (n *Network) DeleteTAP(ctx context.Context, name string) error {
	n.mu.Lock()
	user, card := n.user, n.taps[name]
	n.mu.Unlock()
	if card == nil {
		return failed(errcode.InvalidInterfaceName, "delete tap", name, errors.New("it was not made by CreateTAP of this network"))
	}
	if err := user.ReleaseOne(ctx, card); err != nil {
		return failed(errcode.CleanupFailed, "delete tap", name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.taps, name)
	return nil
}
