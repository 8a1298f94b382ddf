package hostnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
)

// Garbage is something of a network that nobody uses any more.
type Garbage struct {
	Network   string   `json:"network"`   // its bridge, empty if it is not about a single one
	Reason    string   `json:"reason"`    // why it is safe to remove
	Resources []string `json:"resources"` // exactly what is removed
}

// GC removes what killed processes have left of the networks of a runtime directory,
// and returns what that was; dry only lists. What has another owner's mark, or none,
// is never touched. It goes on past errors and returns them all.
//
// It looks at the ledgers of VMs and does not touch them: those of VMs that are gone
// are to be released before.
func GC(ctx context.Context, dir string, dry bool) ([]Garbage, error) {
	p := placeOf(dir, "")
	if _, err := os.Lstat(p.networks()); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	host, err := netlinux.Open()
	if err != nil {
		return nil, err
	}
	// What goes with its last user is in no list any more when its turn comes: so all is
	// listed before anything is removed.
	list := &collector{runtime: dir, host: host, dry: true, gone: map[string]bool{}}
	list.all(ctx)
	if dry {
		return list.found, errors.Join(append(list.errs, host.Close())...)
	}
	c := &collector{runtime: dir, host: host, gone: map[string]bool{}}
	c.all(ctx)
	for _, g := range c.found {
		if !slices.ContainsFunc(list.found, func(other Garbage) bool { return same(g, other) }) {
			list.found = append(list.found, g)
		}
	}
	return list.found, errors.Join(append(c.errs, host.Close())...)
}

type collector struct {
	runtime string
	host    *netlinux.Host
	dry     bool
	gone    map[string]bool // directories of ledgers that are garbage themselves
	found   []Garbage
	errs    []error
}

func (c *collector) all(ctx context.Context) {
	for _, step := range []func(context.Context) error{c.holders, c.networks, c.leftovers, c.kernel} {
		if err := step(ctx); err != nil {
			c.errs = append(c.errs, err)
		}
	}
}

// collect adds something, and removes it unless it is only to be listed.
func (c *collector) collect(g Garbage, remove func() error) {
	c.found = append(c.found, g)
	if c.dry {
		return
	}
	if err := remove(); err != nil {
		c.errs = append(c.errs, err)
	}
}

// holders collects the ledgers of processes that held on to a network and are gone.
func (c *collector) holders(ctx context.Context) error {
	dir := placeOf(c.runtime, "").holders()
	names, err := ledger.Names(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		view, err := ledger.Read(dir, name, Kinds())
		if errors.Is(err, fs.ErrNotExist) || err == nil && view.Owned {
			continue
		}
		if err != nil {
			c.errs = append(c.errs, err)
			continue
		}
		c.gone[view.Dir] = true
		c.collect(Garbage{Reason: "the process that held it is gone", Resources: describe(view)}, func() error { return reap(ctx, dir, name) })
	}
	return nil
}

// describe lists a ledger and what it has.
func describe(view *ledger.View) []string {
	resources := []string{"directory " + view.Dir}
	for _, r := range view.Resources {
		resources = append(resources, r.String())
	}
	return resources
}

func reap(ctx context.Context, dir, name string) error {
	led, err := ledger.Open(dir, name, Kinds())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errcode.VMOwned) {
		return nil // somebody else was faster
	}
	if err != nil {
		return err
	}
	return giveBack(ctx, led)
}

// networks collects leases and uses that are in no ledger, and networks without any.
func (c *collector) networks(ctx context.Context) error {
	names, err := ledger.Names(placeOf(c.runtime, "").networks())
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.network(ctx, placeOf(c.runtime, name)); err != nil {
			c.errs = append(c.errs, err)
		}
	}
	return nil
}

func (c *collector) network(ctx context.Context, p place) error {
	w, err := c.survey(ctx, p)
	if err != nil {
		return err
	}
	for i := range w.leases {
		l := &w.leases[i]
		card := &nic{Runtime: p.runtime, Bridge: p.bridge, TAP: l.TAP, Mark: w.mark, Addr: l.Addr, Ledger: l.Ledger, Clone: l.Inside != nil}
		c.collect(Garbage{p.bridge, fmt.Sprintf("vm %s is gone", l.VM), []string{card.String()}}, func() error { return card.release(ctx, c.host) })
	}
	for _, user := range w.users {
		h := &hold{Runtime: p.runtime, Bridge: p.bridge, User: user}
		c.collect(Garbage{p.bridge, "the process that held it is gone", []string{h.String()}}, func() error { return h.Release(ctx) })
	}
	if w.used {
		return nil
	}
	view, err := ledger.Read(p.networks(), p.bridge, networkKinds())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has gone with its last user
	}
	if err != nil {
		return err
	}
	c.collect(Garbage{p.bridge, "nobody uses it", describe(view)}, func() error { return p.tearDown(ctx, c.host) })
	return nil
}

// waste is what of a network is in no ledger.
type waste struct {
	mark   string
	leases []lease
	users  []string
	used   bool // by others than those
}

// survey compares a network with the ledgers of its users. A lease is written after
// the record in the ledger, and goes before it.
func (c *collector) survey(ctx context.Context, p place) (*waste, error) {
	held, err := p.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer held.unlock()
	owner, err := p.owner()
	if err != nil {
		return nil, err
	}
	w := &waste{mark: owner.Mark(p.bridge)}
	leases, err := p.readLeases()
	if err != nil {
		return nil, err
	}
	for _, l := range leases {
		recorded, err := c.recorded(l.Ledger, func(r ledger.Resource) bool {
			card, ok := r.(*nic)
			return ok && card.TAP == l.TAP && card.Addr == l.Addr && card.Bridge == p.bridge
		})
		if err != nil {
			return nil, err
		}
		if recorded {
			w.used = true
		} else if !c.gone[l.Ledger] { // else it is in the list already
			w.leases = append(w.leases, l)
		}
	}
	users, err := namesIn(p.users())
	for _, user := range users {
		dir := filepath.Join(p.holders(), user)
		recorded, err := c.recorded(dir, func(r ledger.Resource) bool {
			h, ok := r.(*hold)
			return ok && h.Bridge == p.bridge
		})
		if err != nil {
			return nil, err
		}
		if recorded {
			w.used = true
		} else if !c.gone[dir] {
			w.users = append(w.users, user)
		}
	}
	return w, err
}

// recorded reports whether a ledger has something, and is not garbage itself.
func (c *collector) recorded(dir string, is func(ledger.Resource) bool) (bool, error) {
	if c.gone[dir] {
		return false, nil
	}
	view, err := ledger.Read(filepath.Dir(dir), filepath.Base(dir), Kinds())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(view.Resources, is), nil
}

// leftovers collects directories that a kill left half made or half removed.
func (c *collector) leftovers(context.Context) error {
	p := placeOf(c.runtime, "")
	list := ledger.Sweep
	if c.dry {
		list = ledger.Leftovers
	}
	var errs []error
	for _, dir := range []string{p.networks(), p.holders()} {
		paths, err := list(dir)
		for _, path := range paths {
			c.found = append(c.found, Garbage{Reason: "half made or half removed", Resources: []string{"directory " + path}})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
