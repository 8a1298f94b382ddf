package smartvm

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/cgroup"
	"github.com/smartvm/smartvm/internal/console"
	"github.com/smartvm/smartvm/internal/lease"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/vmconfig"
)

// kinds are the resources that a VM's ledger can have.
func kinds() ledger.Kinds {
	kinds := ledger.Kinds{
		"process":   func() ledger.Resource { return &proc.Resource{} },
		"staging":   func() ledger.Resource { return &stagingDir{} },
		"socket":    func() ledger.Resource { return &socketFile{} },
		"lease":     func() ledger.Resource { return &lease.Lease{} },
		"lent-tap":  func() ledger.Resource { return &lentTAP{} },
		"cgroup":    func() ledger.Resource { return &cgroup.Group{} },
		"image-pin": func() ledger.Resource { return &imagePin{} },

		"snapshot-pin": func() ledger.Resource { return &snapshotPin{} },
	}
	maps.Copy(kinds, hostnet.Kinds())
	return kinds
}

// openLedger takes over a ledger whose owner is gone.
func (m *Manager) openLedger(id string) (*ledger.Ledger, error) {
	led, err := ledger.Open(m.RuntimeDir(), id, kinds())
	if errors.Is(err, VMOwned) {
		return nil, m.owned(id, err)
	}
	return led, err
}

// owned says who owns a VM.
func (m *Manager) owned(id string, err error) error {
	e := &Error{Code: errcode.VMOwned, Op: "take over vm", Subject: id, Err: err}
	if view, err := ledger.Read(m.RuntimeDir(), id, kinds()); err == nil {
		e.Err = errors.New("it belongs to " + describe(view.Owner))
		e.Hint = "end that process, or stop the VM and let it clean up"
	}
	return e
}

// Attach returns a VM that any process of this user has started in the same
// runtime directory, without taking it over: it can be used in every way but to
// be cleaned up while its owner lives. Errors: VM_NOT_FOUND, VM_EXISTS when this
// manager has it already.
func (m *Manager) Attach(ctx context.Context, id string) (*VM, error) {
	vmID, err := vmconfig.ParseID(id)
	if err != nil {
		return nil, err
	}
	view, err := ledger.Read(m.RuntimeDir(), id, kinds())
	if err != nil {
		return nil, missing("attach to vm", id, err)
	}
	v, err := m.open(ctx, vmID, view)
	if err != nil {
		return nil, err
	}
	if err := m.register(v); err != nil {
		return nil, errors.Join(err, v.close())
	}
	return v, nil
}

// Adopt is Attach with ownership: this process becomes the one that keeps the
// VM's console and cleans up. VM_OWNED means that its owner is alive.
func (m *Manager) Adopt(ctx context.Context, id string) (*VM, error) {
	v, err := m.Attach(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := v.own(); err != nil {
		m.RemoveVM(id)
		return nil, errors.Join(err, v.close())
	}
	if v.foreign() { // it was cleaned up while we looked at it
		m.RemoveVM(id)
		return nil, errors.Join(missing("adopt vm", id, fs.ErrNotExist), v.close())
	}
	keeper, err := console.New(v.Dir(), m.opts.ConsoleLimit).Keep()
	if err != nil && !errors.Is(err, console.ErrKept) {
		m.log.Warn("the console of an adopted VM can't be kept", slog.String("vm", id), slog.Any("err", err))
	}
	v.mu.Lock()
	v.keeper = keeper
	v.mu.Unlock()
	return v, nil
}

func missing(op, id string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return &Error{
		Code: errcode.VMNotFound, Op: op, Subject: id, Err: errors.New("there is no VM of that id"),
		Hint: "smartvm ps lists them; is it the same runtime directory (SMARTVM_RUNTIME_DIR)?",
	}
}

// open makes a VM out of what its directory and ledger say.
func (m *Manager) open(ctx context.Context, id vmconfig.ID, view *ledger.View) (*VM, error) {
	rec := record{Config: &vmconfig.Config{}}
	if err := view.About(&rec); err != nil {
		return nil, err
	}
	v := newVM(m, id, rec.Config)
	v.attached = new(view.Created)
	v.files, v.drives, v.taps, v.restored, v.group = rec.Files, rec.Drives, rec.TAPs, rec.Restored, groupOf(view)
	process, err := openProcess(view)
	if errors.Is(err, fs.ErrNotExist) {
		v.lookBack(view)
		return v, nil
	}
	if err != nil {
		return nil, &Error{Code: errcode.LedgerFailed, Op: "watch vm", Subject: string(id), Err: err}
	}
	v.client = firecracker.NewClient(v.SocketPath(), firecracker.ClientOptions{
		Version: rec.Binary.Version, BodyLimit: bodyLimit(rec.Config), Logger: m.opts.Logger,
		Dial: dialer(rec.Files.Jail),
	})
	v.version = rec.Binary.Version
	v.state = Configuring
	if _, started := view.Marks[markStarted]; started {
		v.state = Running
	}
	v.watch(process, nil)
	v.refresh(ctx)
	return v, nil
}

// openProcess watches the Firecracker of a ledger. The error matches
// fs.ErrNotExist when it is gone.
func openProcess(view *ledger.View) (*proc.Process, error) {
	for _, r := range view.Resources {
		if p, ok := r.(*proc.Resource); ok && p.Role == roleFirecracker {
			return proc.Open(p.ID)
		}
	}
	return nil, fs.ErrNotExist
}

// lookBack sets the state of a VM whose Firecracker ended before we looked.
func (v *VM) lookBack(view *ledger.View) {
	var ended Ended
	if err := readJSON(filepath.Join(view.Dir, endedName), &ended); err != nil {
		ended = Ended{Time: time.Now(), Asked: v.askedElsewhere(), Log: v.logTail()} // nobody saw it
	}
	v.ended, v.state = &ended, ended.state()
	close(v.gone)
}
