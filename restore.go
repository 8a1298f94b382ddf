package smartvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/snapshot"
	"github.com/smartvm/smartvm/vmconfig"
)

// RestoreOptions say what is different in a VM that is restored. The zero value gives one
// that goes on where the snapshot was taken.
type RestoreOptions struct {
	// ID is the VM's. Default: a generated one.
	ID string
	// Paused leaves the guest standing where it was. Default: it goes on.
	Paused bool
	// Lazy has a page server read the guest's memory when it is touched first, and before
	// that what the last guest has touched. It is for memory on slow disks: where the
	// file is in the page cache, mapping it is as fast. What keeps the server from working
	// is logged, and the file is mapped.
	Lazy bool
	// TrackDirtyPages lets diff snapshots follow.
	TrackDirtyPages bool
	// ClockRealtime moves the guest's kvm-clock on by the time that has passed since the
	// snapshot was taken: its wall clock is right, and its monotonic one jumps too. A guest
	// whose clock source is the TSC does not notice. It takes Firecracker 1.14.4, 1.15.1 or
	// 1.16 on x86_64, and Linux 5.16 when the snapshot was taken; releases before move that
	// clock there whatever is asked for (#5809 of Firecracker's CHANGELOG.md). Default: the
	// clock goes on where it was.
	ClockRealtime bool
	// Vsock is the path of the socket of the guest's vsock on the host. Its last element
	// has to be the one that the first VM's socket had. Default: in the VM's directory.
	Vsock string
	// Metadata is what the guest finds in its metadata service (MMDS). Default: what was
	// there.
	Metadata firecracker.Metadata
	// Network, Limits and Metrics take the place of what the snapshot says. Forwarded
	// ports are in none: two VMs can't have the same ones.
	Network *vmconfig.Network
	Limits  *vmconfig.Limits
	Metrics *firecracker.Metrics
}

// Restore makes a VM of a snapshot in the store: a process, directory, user and control
// group of its own, its own copy of every drive that it can write, its own TAPs and
// socket. Several VMs may be restored from one snapshot, at the same time too; they share
// its memory file and what is only read, which therefore stay in the store while they
// live.
//
// What does not fit this host is refused before anything is made, each difference named:
// SNAPSHOT_MISMATCH. Other errors: SNAPSHOT_NOT_FOUND, INVALID_SNAPSHOT when files of it
// were changed, and those of [VM.Start].
func (m *Manager) Restore(ctx context.Context, name string, o RestoreOptions) (*VM, error) {
	source, err := m.openSnapshot(ctx, name)
	if err != nil {
		return nil, err
	}
	return m.restore(ctx, source, o)
}

// source is a snapshot that can be restored here.
type source struct {
	manifest *snapshot.Manifest
	stored   *vmconfig.Config // that was stored; each VM has a clone of it
	dir      string           // of its files
	memory   string           // path of a file with all of its memory
}

// openSnapshot checks a snapshot, and whether it fits this host.
func (m *Manager) openSnapshot(ctx context.Context, name string) (*source, error) {
	manifest, err := m.snapshots.Check(ctx, name)
	if err != nil {
		return nil, err
	}
	host, err := snapshot.ThisHost()
	if err != nil {
		return nil, err
	}
	if err := manifest.Fits(host); err != nil {
		return nil, err
	}
	stored := &vmconfig.Config{}
	if err := json.Unmarshal(manifest.VMConfig, stored); err != nil {
		return nil, &Error{Code: errcode.InvalidSnapshot, Op: "read snapshot", Subject: name, Err: err}
	}
	memory, err := m.snapshots.Memory(ctx, manifest)
	return &source{manifest: manifest, stored: stored, dir: m.snapshots.Path(name), memory: memory}, err
}

// restore is what a start needs to know of the snapshot that it loads.
type restore struct {
	*source

	options RestoreOptions
}

func (m *Manager) restore(ctx context.Context, from *source, o RestoreOptions) (*VM, error) {
	if o.ID == "" {
		o.ID = string(vmconfig.NewID())
	}
	r := &restore{source: from, options: o}
	v, err := m.CreateVM(o.ID, *r.config(filepath.Join(m.RuntimeDir(), o.ID)))
	if err != nil {
		return nil, err
	}
	if err := v.start(ctx, &launch{op: opStart, restore: r}); err != nil {
		m.RemoveVM(v.ID())
		return nil, err
	}
	return v, nil
}

// config is the configuration of a VM that is restored: the one that was stored, with
// files of its own.
func (r *restore) config(dir string) *vmconfig.Config {
	config := r.stored.Clone()
	config.FirecrackerVersion = r.manifest.FirecrackerVersion
	// Where the first VM logged is the first VM's.
	config.Logger, config.Metrics, config.Serial = nil, r.options.Metrics, nil
	for i := range config.Drives {
		r.restoreDrive(&config.Drives[i])
	}
	for i := range config.NetworkInterfaces {
		r.restoreInterface(&config.NetworkInterfaces[i])
	}
	if config.Vsock != nil {
		config.Vsock.UDSPath = filepath.Join(dir, r.manifest.Vsock.SocketName)
		if r.options.Vsock != "" {
			config.Vsock.UDSPath = r.options.Vsock
		}
	}
	switch {
	case r.options.Network != nil:
		config.Network = r.options.Network
	case config.Network != nil: // ports of the host are the first VM's, or the first clone's
		config.Network.Forwards = nil
	}
	if r.options.Limits != nil {
		config.Limits = r.options.Limits
	}
	config.Metadata = r.metadata()
	return config
}

// restoreDrive gives a drive the file that was stored with it, as a copy, or the one that
// everybody reads.
func (r *restore) restoreDrive(d *vmconfig.Drive) {
	for _, stored := range r.manifest.Drives {
		switch {
		case stored.ID != d.DriveID:
		case stored.Copy != "":
			d.PathOnHost, d.Ephemeral = filepath.Join(r.dir, stored.Copy), new(true)
		default:
			d.PathOnHost, d.Ephemeral = stored.HostPath, new(false)
		}
	}
}

// restoreInterface demands the addresses that the guest has.
func (r *restore) restoreInterface(n *firecracker.NetworkInterface) {
	for _, stored := range r.manifest.Interfaces {
		if stored.ID == n.IfaceID {
			n.GuestMAC = stored.GuestMAC
		}
	}
}

// metadata is what the guest is to find in its metadata service.
func (r *restore) metadata() (data firecracker.Metadata) {
	if r.options.Metadata != nil || len(r.manifest.MMDS) == 0 {
		return r.options.Metadata
	}
	_ = json.Unmarshal(r.manifest.MMDS, &data)
	return data
}

// check refuses what Firecracker v can't do for a snapshot, before it is started.
func (r *restore) check(v firecracker.Version) error {
	if r == nil {
		return nil
	}
	return firecracker.LoadSnapshot(firecracker.SnapshotLoadParams{ClockRealtime: r.options.ClockRealtime}).Check(v)
}

// bootless is a configuration without what only a boot needs: the kernel may be gone.
func bootless(config *vmconfig.Config) *vmconfig.Config {
	config = config.Clone()
	config.BootSource, config.CPUConfig = firecracker.BootSource{}, nil
	return config
}

// bringSnapshot enters the snapshot's files among those of the VM. What only a boot needs
// is left out.
func (l *launch) bringSnapshot() error {
	r := l.restore
	if r == nil {
		return nil
	}
	if _, err := l.plan.files.Add(roleSnapshot, filepath.Join(r.dir, snapshot.StateFile), jail.Read); err != nil {
		return err
	}
	_, err := l.plan.files.Add(roleMemory, r.memory, jail.Read)
	return err
}

// load lets the guest of a snapshot go on in a Firecracker that has nothing yet.
func (l *launch) load(ctx context.Context) error {
	var services []firecracker.Request
	if c := l.plan.config; c.Metrics != nil {
		services = append(services, firecracker.PutMetrics(*c.Metrics))
	}
	if data := l.plan.config.Metadata; data != nil {
		services = append(services, firecracker.PutMMDS(data))
	}
	if err := l.client.Pipeline(ctx, services); err != nil {
		return err
	}
	fault.Point("restore: configured")
	if err := l.loadAndDescribe(ctx); err != nil {
		return err
	}
	fault.Point("restore: loaded")
	r := l.restore
	if r.options.TrackDirtyPages {
		return l.vm.rememberSnapshot(&lastSnapshot{Name: r.manifest.Name, ID: r.manifest.ID})
	}
	return nil
}

// loadAndDescribe lets Firecracker load the snapshot, which takes it longer than anything
// else in a restore, while the network is finished and described. A guest whose network was
// not there when that began is told to go on when it is.
func (l *launch) loadAndDescribe(ctx context.Context) error {
	l.waitForTAPs()
	params := l.loadParams()
	late := params.ResumeVM && !l.network.over()
	if late {
		params.ResumeVM = false
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loaded := make(chan error, 1)
	go func() { loaded <- l.client.LoadSnapshot(ctx, params) }()
	err := l.describe(ctx)
	if err != nil {
		cancel() // what it loads is of no use
	}
	if loadErr := <-loaded; err == nil && loadErr != nil {
		err = l.loadError(loadErr)
	}
	if err == nil && late {
		err = l.client.Resume(ctx)
	}
	return err
}

func (l *launch) loadParams() firecracker.SnapshotLoadParams {
	r, files := l.restore, &l.plan.files
	params := firecracker.SnapshotLoadParams{
		SnapshotPath: files.Inside(roleSnapshot), ResumeVM: !r.options.Paused,
		MemBackend: l.memoryBackend(), ClockRealtime: r.options.ClockRealtime,
		NetworkOverrides: l.overrides(),
	}
	if l.binary.Version.Compare(trackOnLoad) >= 0 {
		params.TrackDirtyPages = r.options.TrackDirtyPages
	} else {
		params.EnableDiffSnapshots = r.options.TrackDirtyPages
	}
	return params
}

// trackOnLoad is the release since which a load says track_dirty_pages, and not
// enable_diff_snapshots.
var trackOnLoad = firecracker.Version{Major: 1, Minor: 13}

func (l *launch) loadError(err error) error {
	if errors.Is(err, errcode.APIError) {
		return fmt.Errorf("firecracker refuses the snapshot %s: %w", l.restore.manifest.Name, err)
	}
	return err
}
