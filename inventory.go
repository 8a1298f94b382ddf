package smartvm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/vmconfig"
)

// Entry is a VM on this host, whoever started it.
type Entry struct {
	ID          string    `json:"id"`
	State       State     `json:"state"`
	Created     time.Time `json:"created"`
	Owner       string    `json:"owner,omitempty"` // the process that owns it; "" when there is none (any more)
	PID         int       `json:"pid,omitempty"`   // of Firecracker, while it lives
	VCPUs       int       `json:"vcpus"`
	MemMiB      int       `json:"mem_mib"`
	Firecracker string    `json:"firecracker"` // version
	Ended       *Ended    `json:"ended,omitempty"`
	// Addresses are those of the guest's interfaces that smartvm has made TAPs for.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Resources lists what the VM's ledger has, for people.
	Resources []string `json:"resources"`
	// Problem says why the rest could not be found out.
	Problem string `json:"problem,omitempty"`
}

// Inventory lists every VM in the runtime directory, sorted by id. A VM that
// can't be looked at is listed with its problem.
func (m *Manager) Inventory(ctx context.Context) ([]Entry, error) {
	names, err := ledger.Names(m.RuntimeDir())
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(names))
	gone := make([]bool, len(names))
	var wg sync.WaitGroup
	limit := make(chan struct{}, 32)
	for i, name := range names {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			entry, err := m.inspect(ctx, name)
			if err != nil {
				entry = Entry{ID: name, Problem: err.Error()}
				gone[i] = errors.Is(err, VMNotFound)
			}
			entries[i] = entry
		})
	}
	wg.Wait()
	list := make([]Entry, 0, len(entries))
	for i, e := range entries {
		if !gone[i] {
			list = append(list, e)
		}
	}
	return list, nil
}

// Inspect looks at one VM in the runtime directory. Errors: VM_NOT_FOUND.
func (m *Manager) Inspect(ctx context.Context, id string) (Entry, error) {
	if _, err := vmconfig.ParseID(id); err != nil {
		return Entry{}, err
	}
	return m.inspect(ctx, id)
}

func (m *Manager) inspect(ctx context.Context, id string) (Entry, error) {
	view, err := ledger.Read(m.RuntimeDir(), id, kinds())
	if err != nil {
		return Entry{}, missing("inspect vm", id, err)
	}
	v, err := m.open(ctx, vmconfig.ID(id), view)
	if err != nil {
		return Entry{}, err
	}
	defer func() { _ = v.close() }()
	var rec record
	if err := view.About(&rec); err != nil {
		return Entry{}, err
	}
	e := Entry{
		ID: id, State: v.State(), Created: view.Created, VCPUs: 1, MemMiB: 128, Ended: v.Ended(),
		Firecracker: rec.Binary.Version.String(), Resources: []string{"directory " + view.Dir},
	}
	if view.Owned {
		e.Owner = describe(view.Owner)
	}
	if c := v.config.MachineConfig; c != nil {
		e.VCPUs, e.MemMiB = c.VCPUCount, c.MemSizeMiB
	}
	if v.process != nil && v.State().alive() {
		e.PID = v.process.ID().PID
	}
	for _, tap := range rec.TAPs {
		e.Addresses = append(e.Addresses, tap.Addr.Addr())
	}
	for _, r := range view.Resources {
		e.Resources = append(e.Resources, r.String())
	}
	return e, nil
}

func describe(o ledger.Owner) string { return fmt.Sprintf("process %d (%s)", o.PID, o.Command) }
