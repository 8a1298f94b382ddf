package hostnet

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/pause"
)

// tearDown removes a network that nobody uses. Somebody may have begun to since the
// caller looked.
func (p place) tearDown(ctx context.Context, host *netlinux.Host) error {
	return p.locked(ctx, host, func() error {
		if used, err := p.used(); err != nil || used {
			return err
		}
		return p.remove(ctx, host)
	})
}

// clear removes what is left of a network that was never completed or that is being
// taken down, and of one that nobody uses in another network namespace, which is gone
// with all that was in it or has a gc of its own. One that is used there is an error.
// The caller holds all locks.
func (p place) clear(ctx context.Context, host *netlinux.Host) error {
	there, err := p.read()
	if err != nil {
		return err
	}
	used, err := p.used()
	if err != nil {
		return err
	}
	switch {
	case there == nil: // killed before it wrote what it makes; nobody can use it
		return p.remove(ctx, host)
	case used:
		return there.elsewhere()
	case !there.Complete || there.elsewhere() != nil:
		return p.remove(ctx, host)
	}
	return nil
}

// remove gives back all that the network's ledger has, and its directory. From the
// beginning on the network counts as not there. The caller holds all locks.
func (p place) remove(ctx context.Context, host *netlinux.Host) error {
	led, err := p.openLedger(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	there, err := p.read()
	if err == nil && there != nil {
		there.Complete = false
		err = writeJSON(p.config(), there)
	}
	if err != nil {
		return errors.Join(err, led.Close())
	}
	fault.Point("network: going")
	share(led, host)
	return giveBack(ctx, led)
}

func giveBack(ctx context.Context, led *ledger.Ledger) error {
	if err := led.Release(ctx); err != nil {
		return errors.Join(err, led.Close())
	}
	return led.Destroy()
}

// openLedger opens the network's ledger. The caller holds the lock of the records, so
// that nobody else works on it; but a process that is just being started by somebody
// who did has its lock until it runs its own program.
func (p place) openLedger(ctx context.Context) (*ledger.Ledger, error) {
	ctx, cancel := context.WithTimeout(ctx, ghostTimeout)
	defer cancel()
	for {
		led, err := ledger.Open(p.networks(), p.bridge, networkKinds())
		if !errors.Is(err, errcode.VMOwned) || pause.For(ctx, ghostPace) != nil {
			return led, err
		}
	}
}

const (
	ghostTimeout = 2 * time.Second
	ghostPace    = 100 * time.Microsecond
)
