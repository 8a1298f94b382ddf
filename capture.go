package smartvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/stage"
	"github.com/smartvm/smartvm/snapshot"
	"github.com/smartvm/smartvm/vmconfig"
)

// SnapshotOptions say what [VM.Snapshot] does. The zero value takes a full snapshot and
// lets the guest go on.
type SnapshotOptions struct {
	// Diff keeps only the memory that has changed since the VM's last snapshot, or since
	// the one that it was restored from. It needs track_dirty_pages in the machine config,
	// or in the options of the restore.
	Diff bool
	// KeepPaused leaves the VM paused. Default: one that ran goes on.
	KeepPaused bool
}

// Snapshot stores the whole VM under a name: its state, its memory, and a copy of each
// drive that its guest can write, all of one moment. The guest stands still meanwhile.
// The snapshot is in the store when the call returns, or nothing is.
//
// Errors: SNAPSHOT_EXISTS, NO_SPACE, INVALID_CONFIG for a diff without tracking or
// without a snapshot before it, and for persistent memory (pmem) that the guest can write,
// of which no copy is made.
func (v *VM) Snapshot(ctx context.Context, name string, o SnapshotOptions) (*snapshot.Manifest, error) {
	end, err := v.begin(ctx, opSnapshot)
	if err != nil {
		return nil, err
	}
	defer end()
	c := &capture{vm: v, options: o}
	m, err := c.run(ctx, name)
	if err != nil {
		return nil, &Error{Code: errcode.Of(err, errcode.SnapshotFailed), Op: string(opSnapshot), Subject: string(v.id), Err: err, StatusCode: statusOf(err)}
	}
	return m, nil
}

// capture is a snapshot that is being taken.
type capture struct {
	vm      *VM
	options SnapshotOptions
	client  *firecracker.Client
	version firecracker.Version
	draft   *snapshot.Draft
	about   snapshot.Manifest
	dir     *os.Root    // of the draft, while it is filled
	room    *stage.Room // for the memory; nil without
}

func (c *capture) run(ctx context.Context, name string) (*snapshot.Manifest, error) {
	v := c.vm
	v.mu.Lock()
	c.client, c.version = v.client, v.version
	v.mu.Unlock()
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	var err error
	if c.draft, err = v.manager.snapshots.Draft(ctx, name); err != nil {
		return nil, err
	}
	fault.Point("snapshot: drafted")
	if err := c.take(ctx); err != nil {
		return nil, errors.Join(err, c.draft.Discard())
	}
	m, err := c.draft.Commit(ctx, c.about)
	if err != nil {
		return nil, errors.Join(err, c.draft.Discard())
	}
	fault.Point("snapshot: committed")
	c.pinImages(ctx, m)
	return m, v.rememberSnapshot(&lastSnapshot{Name: m.Name, ID: m.ID})
}

// pinImages keeps the base images that the snapshot's drives belong to, as long as there
// is the snapshot. Until now the VM has kept them.
func (c *capture) pinImages(ctx context.Context, m *snapshot.Manifest) {
	manager := c.vm.manager
	var shared []string
	for i := range m.Drives {
		if m.Drives[i].Copy == "" {
			shared = append(shared, m.Drives[i].HostPath)
		}
	}
	for _, id := range bundlesIn(manager.opts.BaseImageDir, shared) {
		if _, err := manager.baseImages.Pin(ctx, id, manager.snapshots.Path(m.Name)); err != nil {
			manager.log.Warn("a base image may be removed although a snapshot needs it",
				slog.String("bundle", id), slog.String("snapshot", m.Name), slog.Any("err", err))
		}
	}
}

// prepare finds out what can be wrong, and collects what the manifest says, while the
// guest still runs.
func (c *capture) prepare(ctx context.Context) error {
	v := c.vm
	if err := copiable(v.config); err != nil {
		return err
	}
	c.about = snapshot.Manifest{CreatedAt: time.Now().UTC(), Type: snapshot.Full, FirecrackerVersion: c.version}
	if c.options.Diff {
		if err := c.findBase(ctx); err != nil {
			return err
		}
	}
	host, err := snapshot.ThisHost()
	if err != nil {
		return err
	}
	c.about.Host = host
	if c.about.VMConfig, err = json.Marshal(v.config); err != nil {
		return err
	}
	return c.describeDevices(ctx)
}

// copiable refuses what all that are restored would write to together.
func copiable(config *vmconfig.Config) error {
	for i, d := range config.Pmem {
		if !d.ReadOnly {
			return &Error{
				Code: errcode.InvalidConfig, Op: "copy persistent memory", Subject: fmt.Sprintf("pmem[%d]", i),
				Err:  errors.New("all VMs of the snapshot would write to " + d.PathOnHost),
				Hint: "let the guest only read it (read_only), or give it a drive instead",
			}
		}
	}
	return nil
}

// take stops the guest for as long as it takes to copy what it could change, if there is
// room for that.
func (c *capture) take(ctx context.Context) (err error) {
	v := c.vm
	if c.dir, err = os.OpenRoot(c.draft.Dir()); err != nil {
		return err
	}
	defer c.dir.Close()
	if err := c.reserveMemory(); err != nil {
		return err
	}
	defer c.room.Release()
	ran := v.State() == Running
	if ran {
		if err := c.client.Pause(ctx); err != nil {
			return err
		}
		v.setUnlessEnded(Paused)
	}
	err = c.copyAll(ctx)
	if ran && (err != nil || !c.options.KeepPaused) {
		err = errors.Join(err, c.goOn(ctx))
	}
	return err
}

// reserveMemory sets room aside for the memory of a full snapshot, of which Firecracker
// writes every page. How much of it a diff has, nobody knows before.
func (c *capture) reserveMemory() (err error) {
	if !c.options.Diff {
		c.room, err = c.vm.manager.space.Reserve(c.dir, int64(c.vm.config.MemMiB())<<20)
	}
	return err
}

// resumeTimeout bounds the wait for a guest that goes on after a snapshot, whatever
// became of the caller.
const resumeTimeout = 10 * time.Second

func (c *capture) goOn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resumeTimeout)
	defer cancel()
	if err := c.client.Resume(ctx); err != nil {
		return fmt.Errorf("the guest was left paused: %w", err)
	}
	c.vm.setUnlessEnded(Running)
	return nil
}

func (c *capture) copyAll(ctx context.Context) error {
	// Whatever comes of it: Firecracker begins to note changes anew.
	if err := c.vm.rememberSnapshot(nil); err != nil {
		return err
	}
	params := firecracker.SnapshotCreateParams{
		SnapshotPath: c.draft.Path(snapshot.StateFile), MemFilePath: c.draft.Path(snapshot.MemoryFile), SnapshotType: firecracker.FullSnapshot,
	}
	if c.options.Diff {
		params.SnapshotType = firecracker.DiffSnapshot
	}
	if err := c.vm.writeSnapshot(ctx, c.client, params); err != nil {
		return err
	}
	c.room.Release()
	fault.Point("snapshot: memory written")
	for i := range c.about.Drives {
		if d := &c.about.Drives[i]; d.Copy != "" {
			if err := c.copyDrive(ctx, d); err != nil {
				return fmt.Errorf("drive %s: %w", d.ID, err)
			}
		}
	}
	fault.Point("snapshot: drives copied")
	return nil
}

func (c *capture) copyDrive(ctx context.Context, d *snapshot.Drive) error {
	place, err := c.vm.manager.space.Choose(d.HostPath, []*os.Root{c.dir})
	if err != nil {
		return err
	}
	defer place.Release()
	_, err = place.Copy(ctx, d.Copy)
	return err
}
