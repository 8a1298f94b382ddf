package smartvm

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/console"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/internal/lease"
	"github.com/smartvm/smartvm/internal/privdir"
	"github.com/smartvm/smartvm/internal/stage"
	"github.com/smartvm/smartvm/internal/watch"
	"github.com/smartvm/smartvm/snapshot"
	"github.com/smartvm/smartvm/vmconfig"
)

// Manager creates VMs and keeps track of them. It needs neither root nor KVM by
// itself; starting a VM needs /dev/kvm. Its methods may be called from several
// goroutines, and several managers, in one process or many, may share the same
// directories.
type Manager struct {
	opts    Options
	log     *slog.Logger
	runtime *privdir.Dir
	data    *privdir.Dir

	watcher watch.Watcher // for the consoles and keepers of all VMs
	space   stage.Space   // room promised to drives that are being staged
	void    jail.Void     // what jailed VMs have none of
	bare    jail.Bare     // where the jails of restored VMs begin
	spare   spareNetwork  // for the next VM that has one of its own
	users   lease.Desk    // of jails
	kvmSeen atomic.Bool   // KVM works: it is looked at again only when a start fails

	binaries   binaryCache
	images     *image.Store
	baseImages *baseimage.Store
	snapshots  *snapshot.Store
	network    *hostnet.Network

	starting atomic.Int32 // how many starts are under way

	mu  sync.Mutex
	vms map[vmconfig.ID]*VM
}

// New returns a Manager. It makes the data and the runtime directory, private to
// this user; INSECURE_PATH means that somebody else could interfere with one of
// them, DIRECTORY_FAILED that it can't be made.
func New(opts Options) (*Manager, error) {
	if opts.DataDir == "" {
		opts.DataDir = DefaultDataDir
	}
	data, err := privdir.Ensure(opts.DataDir)
	if err != nil {
		return nil, err
	}
	if opts.RuntimeDir == "" {
		opts.RuntimeDir = defaultRuntimeDir(data.Path())
	}
	runtime, err := privdir.Ensure(opts.RuntimeDir)
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	if opts.Jail, err = opts.Jail.withDefaults(); err != nil {
		return nil, errors.Join(err, runtime.Close(), data.Close())
	}
	if opts.StartTimeout == 0 {
		opts.StartTimeout = DefaultStartTimeout
	}
	if opts.ConsoleLimit == 0 {
		opts.ConsoleLimit = console.DefaultLimit
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{opts: opts, log: opts.Logger, runtime: runtime, data: data, users: lease.Desk{Dir: opts.Jail.LeaseDir}, vms: map[vmconfig.ID]*VM{}}
	if err := m.openParts(); err != nil {
		return nil, errors.Join(err, runtime.Close(), data.Close())
	}
	return m, nil
}

// openParts makes the stores and the network, which touch nothing until they are used.
func (m *Manager) openParts() error {
	if err := m.openStores(); err != nil {
		return err
	}
	network, err := hostnet.New(hostnet.Options{
		Dir: m.RuntimeDir(), Config: m.opts.Network, ReuseAddresses: m.opts.ReuseAddresses, Logger: m.opts.Logger,
	})
	if err != nil {
		return errors.Join(err, m.baseImages.Close())
	}
	m.network = network
	return nil
}

// defaultRuntimeDir prefers a tmpfs: what is in it is gone after a reboot, as
// are the processes and devices that it is about.
func defaultRuntimeDir(data string) string {
	shm := filepath.Dir(filepath.Dir(DefaultRuntimeDir))
	if privdir.IsTmpfs(shm) {
		return DefaultRuntimeDir
	}
	return filepath.Join(data, "runtime")
}

// RuntimeDir returns the directory that has a directory per VM.
func (m *Manager) RuntimeDir() string { return m.runtime.Path() }

// DataDir returns the directory of what outlives VMs.
func (m *Manager) DataDir() string { return m.data.Path() }

// CreateVM validates a configuration and registers a VM for it; nothing happens
// on the host until Start. An empty id is replaced by a generated one. The config
// is copied. Errors: INVALID_CONFIG with every mistake, VM_EXISTS, PATH_TOO_LONG.
func (m *Manager) CreateVM(id string, config vmconfig.Config) (*VM, error) {
	if id == "" {
		id = string(vmconfig.NewID())
	}
	vmID, err := vmconfig.ParseID(id)
	if err != nil {
		return nil, err
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := checkSocketPath(m.RuntimeDir(), vmID); err != nil {
		return nil, err
	}
	v := newVM(m, vmID, config.Clone())
	if err := m.register(v); err != nil {
		return nil, err
	}
	return v, nil
}

func (m *Manager) register(v *VM) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.vms[v.id] != nil {
		return &Error{
			Code: errcode.VMExists, Op: "create vm", Subject: string(v.id),
			Err: errors.New("this manager has a VM of that id"), Hint: "choose another id, or clean up and remove that VM",
		}
	}
	m.vms[v.id] = v
	return nil
}

// VM returns the VM of that id, if this manager has it.
func (m *Manager) VM(id string) (*VM, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.vms[vmconfig.ID(id)]
	return v, ok
}

// VMs returns the ids of this manager's VMs, sorted.
func (m *Manager) VMs() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := make([]string, 0, len(m.vms))
	for id := range m.vms {
		ids = append(ids, string(id))
	}
	slices.Sort(ids)
	return ids
}

// Count returns the number of this manager's VMs.
func (m *Manager) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.vms)
}

// RemoveVM forgets a VM. It neither stops it nor releases anything. It reports
// whether the VM was known.
func (m *Manager) RemoveVM(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.vms[vmconfig.ID(id)]
	delete(m.vms, vmconfig.ID(id))
	return ok
}

// StopAll stops every VM that has a Firecracker process, all at the same time:
// every guest is asked before any is waited for. All errors are returned.
func (m *Manager) StopAll(ctx context.Context, opts StopOptions) error {
	return m.each(func(v *VM) error {
		err := v.Stop(ctx, opts)
		if errors.Is(err, InvalidState) && !v.State().alive() {
			return nil // it was not running, or ended by itself meanwhile
		}
		return err
	})
}

// Cleanup cleans up all VMs that this manager owns, at the same time, and forgets
// those of which nothing is left; then the network goes, unless others use it. VMs
// that were detached, or only attached to, are let go. It goes on past errors and
// returns them all, and can be repeated.
func (m *Manager) Cleanup(ctx context.Context) error {
	err := m.each(func(v *VM) error {
		if v.foreign() {
			m.RemoveVM(v.ID())
			return v.close()
		}
		if err := v.Cleanup(ctx); err != nil {
			return err
		}
		m.RemoveVM(v.ID())
		return nil
	})
	return errors.Join(err, m.network.Cleanup(ctx))
}

func (m *Manager) each(do func(*VM) error) error {
	m.mu.Lock()
	vms := make([]*VM, 0, len(m.vms))
	for _, v := range m.vms {
		vms = append(vms, v)
	}
	m.mu.Unlock()
	errs := make([]error, len(vms))
	var wg sync.WaitGroup
	for i, v := range vms {
		wg.Go(func() { errs[i] = do(v) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close gives up the ownership of all VMs and leaves them running; another
// manager can adopt them. A VM that has been cleaned up needs no Close.
func (m *Manager) Close() error {
	err := m.each((*VM).close)
	return errors.Join(err, m.network.Close(), m.baseImages.Close(), m.watcher.Close(), m.void.Close(), m.bare.Close(), m.spare.Close(), m.runtime.Close(), m.data.Close())
}
