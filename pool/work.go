package pool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/pause"
)

// kinds are the resources that the ledger of a pool can have.
func kinds() ledger.Kinds {
	kinds := ledger.Kinds{
		"access":    func() ledger.Resource { return &access{} },
		"lease-dir": func() ledger.Resource { return &leaseDir{} },
		"note":      func() ledger.Resource { return &note{} },
	}
	maps.Copy(kinds, hostnet.Kinds())
	return kinds
}

// record is what a pool's ledger says about the pool.
type record struct {
	Pool    *Pool   `json:"pool"`
	Request Request `json:"request"`
	// Complete is set once all of the pool was made.
	Complete bool `json:"complete"`
}

// work is a pool that is being made, changed or removed.
type work struct {
	site   *site
	ledger *ledger.Ledger
	record record
	pool   *Pool // of record
}

// begin makes the ledger of a new pool.
func (s *site) begin(p Pool, r Request) (*work, error) {
	led, err := ledger.Create(s.state(), p.User.key())
	if err != nil {
		return nil, err
	}
	w := &work{site: s, ledger: led, record: record{Pool: &p, Request: r}, pool: &p}
	return w, led.Describe(w.record)
}

// find opens the ledger of a pool, nil if there is none.
func (s *site) find(ctx context.Context, u User) (*work, error) {
	led, err := s.open(ctx, u)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}
	if err != nil {
		return nil, err
	}
	w := &work{site: s, ledger: led}
	if err := led.View().About(&w.record); err != nil {
		return nil, errors.Join(err, led.Close())
	}
	if w.record.Pool == nil { // killed before it was written
		w.record.Pool = &Pool{User: u}
	}
	w.pool = w.record.Pool
	return w, nil
}

// open waits for a process that somebody who had the ledger has just started, and that
// has its lock until it runs its own program.
func (s *site) open(ctx context.Context, u User) (*ledger.Ledger, error) {
	const ghostTimeout = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, ghostTimeout)
	defer cancel()
	for {
		led, err := ledger.Open(s.state(), u.key(), kinds())
		if !errors.Is(err, errcode.VMOwned) || pause.For(ctx, time.Millisecond) != nil {
			return led, err
		}
	}
}

func (w *work) has(is func(ledger.Resource) bool) bool {
	return slices.ContainsFunc(w.ledger.View().Resources, is)
}

// recorded is has for what there is one of.
func (w *work) recorded(kind string) bool {
	return w.has(func(r ledger.Resource) bool { return r.Kind() == kind })
}

// demolish gives back all that was made for the pool. Unless it is forced, TAPs that
// somebody has open are in its way.
func (w *work) demolish(ctx context.Context, force bool) error {
	if !force {
		if err := w.unused(); err != nil {
			return errors.Join(err, w.ledger.Close())
		}
	}
	if err := w.ledger.Release(ctx); err != nil {
		return errors.Join(failed(errcode.CleanupFailed, "remove pool", w.pool.User.Name, err), w.ledger.Close())
	}
	if err := w.ledger.Destroy(); err != nil {
		return err
	}
	return w.site.sweep(ctx)
}

// unused is an error if a process has one of the TAPs open.
func (w *work) unused() error {
	links, err := w.links()
	if err != nil {
		return err
	}
	var open []string
	for _, l := range links {
		if l.Carrier {
			open = append(open, l.Name)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return &errcode.Error{
		Code: errcode.NetworkInUse, Op: "change pool", Subject: w.pool.User.Name,
		Err:  fmt.Errorf("VMs use %s", strings.Join(open, ", ")),
		Hint: "let the user end his VMs first; smartvm setup --remove NAME --force does not wait for him",
	}
}

// links are the TAPs of the pool that are there.
func (w *work) links() (links []netlinux.Link, err error) {
	err = onHost(func(host *netlinux.Host) error {
		for _, t := range w.pool.TAPs {
			l, err := host.Link(t.Name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			links = append(links, l)
		}
		return nil
	})
	return links, err
}

// ownTAPs reports whether all TAPs are there: whoever may open one may also remove it,
// or give it to somebody else. One that was given away is taken back.
func (w *work) ownTAPs() (whole bool, err error) {
	links, err := w.links()
	if err != nil || len(links) < len(w.pool.TAPs) {
		return false, err
	}
	for _, l := range links {
		if l.Owner == w.pool.User.UID {
			continue
		}
		if err := onHost(func(host *netlinux.Host) error { return host.OwnTAP(l, w.pool.User.UID) }); err != nil {
			return false, err
		}
	}
	return true, nil
}

func onHost(do func(*netlinux.Host) error) error {
	host, err := netlinux.Open()
	if err != nil {
		return err
	}
	return errors.Join(do(host), host.Close())
}
