package smartvm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/ledger"
)

// Garbage is something that GC removes: what a VM without owner and without
// life, or a network without users, left on this host.
type Garbage struct {
	ID        string   `json:"id,omitempty"`      // of the VM
	Network   string   `json:"network,omitempty"` // the bridge, if it is a network's
	Reason    string   `json:"reason"`            // why it is safe to remove
	Resources []string `json:"resources"`         // exactly what is removed
}

// GCOptions configure GC. The zero value is ready to use.
type GCOptions struct {
	// DryRun only lists.
	DryRun bool
}

// GC removes what killed processes and ended VMs have left in the runtime and
// data directories, and returns what that was. It never touches a VM that has a
// live owner, or one that runs: a start that was cut short has neither.
// It goes on past errors and returns them all.
func (m *Manager) GC(ctx context.Context, opts GCOptions) ([]Garbage, error) {
	names, err := ledger.Names(m.RuntimeDir())
	if err != nil {
		return nil, err
	}
	var found []Garbage
	var errs []error
	for _, name := range names {
		g, err := m.collect(ctx, name, opts.DryRun)
		if g != nil {
			found = append(found, *g)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	rest, err := m.leftovers(opts.DryRun)
	networks, nerr := m.NetworkGC(ctx, opts) // behind the VMs, whose leases keep networks alive
	return slices.Concat(found, rest, networks), errors.Join(append(errs, err, nerr)...)
}

// NetworkGC is the part of GC that is about networks.
func (m *Manager) NetworkGC(ctx context.Context, opts GCOptions) ([]Garbage, error) {
	found, err := hostnet.GC(ctx, m.RuntimeDir(), opts.DryRun)
	var garbage []Garbage
	for _, g := range found {
		garbage = append(garbage, Garbage{Network: g.Network, Reason: g.Reason, Resources: g.Resources})
	}
	return garbage, err
}

// collect removes one VM if it is garbage.
func (m *Manager) collect(ctx context.Context, id string, dry bool) (*Garbage, error) {
	view, err := ledger.Read(m.RuntimeDir(), id, kinds())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // gone meanwhile, or not ours: no garbage and no error
	}
	if err != nil {
		return nil, err
	}
	reason, err := garbage(view)
	if reason == "" || err != nil {
		return nil, err
	}
	g := &Garbage{ID: id, Reason: reason, Resources: []string{"directory " + view.Dir}}
	for _, r := range view.Resources {
		g.Resources = append(g.Resources, r.String())
	}
	if dry {
		return g, nil
	}
	err = m.reap(ctx, id)
	if errors.Is(err, VMOwned) {
		return nil, nil //nolint:nilnil // somebody took it over meanwhile
	}
	return g, err
}

// garbage returns why a VM can be removed, "" if it can't.
func garbage(view *ledger.View) (string, error) {
	if view.Owned {
		return "", nil
	}
	process, err := openProcess(view)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", err
	default:
		process.Forget()
		if wanted(view) {
			return "", nil
		}
		return "its start was cut short", nil
	}
	if _, started := view.Marks[markStarted]; !started {
		return "its start was cut short", nil
	}
	return "its Firecracker has ended", nil
}

// wanted tells a VM from what is left of a start that was cut short.
func wanted(view *ledger.View) bool {
	_, started := view.Marks[markStarted]
	_, left := view.Marks[markLeft]
	return started || left
}

// reap releases all that a VM without owner has.
func (m *Manager) reap(ctx context.Context, id string) error {
	led, err := m.openLedger(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if reason, err := garbage(unowned(led.View())); reason == "" || err != nil {
		return errors.Join(err, led.Close())
	}
	if err := led.Release(ctx); err != nil {
		return errors.Join(err, led.Close())
	}
	return led.Destroy()
}

// reclaim frees an id that only a start that was cut short holds.
func (m *Manager) reclaim(ctx context.Context, id string) error {
	view, err := ledger.Read(m.RuntimeDir(), id, kinds())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) { // it is no directory of ours
		return nil
	}
	if err != nil {
		return err
	}
	if wanted(view) || view.Owned {
		return errTaken(id)
	}
	return m.reap(ctx, id)
}

// leftovers removes directories that were half made or half removed, and staged
// drives whose VM is gone with a reboot.
func (m *Manager) leftovers(dry bool) ([]Garbage, error) {
	list := ledger.Sweep
	if dry {
		list = ledger.Leftovers
	}
	paths, err := list(m.RuntimeDir())
	var found []Garbage
	for _, p := range paths {
		found = append(found, Garbage{Reason: "half made or half removed", Resources: []string{"directory " + p}})
	}
	orphans, lerr := m.orphanedStaging()
	for _, p := range orphans {
		found = append(found, Garbage{Reason: "its VM is gone", Resources: []string{"staged drives " + p}})
		if !dry {
			err = errors.Join(err, os.RemoveAll(p))
		}
	}
	return found, errors.Join(err, lerr)
}

// orphanedStaging lists the staged drives that no ledger has: of an earlier
// boot, or of this runtime directory without a VM of that id.
func (m *Manager) orphanedStaging() ([]string, error) {
	dir := filepath.Join(m.DataDir(), stagingName)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var orphans []string
	for _, e := range entries {
		parts := strings.Split(e.Name(), stagingSeparator)
		if len(parts) != 3 {
			continue // not ours
		}
		_, err := os.Lstat(filepath.Join(m.RuntimeDir(), parts[0]))
		ours := parts[2] == shortHash(m.RuntimeDir())
		if parts[1] != shortBoot() || ours && errors.Is(err, fs.ErrNotExist) {
			orphans = append(orphans, filepath.Join(dir, e.Name()))
		}
	}
	return orphans, nil
}

// unowned is a view of a ledger that we have just taken over, as it was before.
func unowned(view *ledger.View) *ledger.View {
	view.Owned = false
	return view
}
