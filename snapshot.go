package smartvm

import (
	"context"
	"errors"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// CreateSnapshot writes the state and the memory of a paused VM to files. A
// diff snapshot needs track_dirty_pages in the machine config. Disks are not
// part of it.
func (v *VM) CreateSnapshot(ctx context.Context, params firecracker.SnapshotCreateParams) error {
	if params.SnapshotType == firecracker.DiffSnapshot && !v.tracksDirtyPages() {
		return &Error{
			Code: errcode.InvalidConfig, Op: string(opCreateSnapshot), Subject: string(v.id),
			Err:  errors.New("a diff snapshot needs to know which pages have changed, and this VM was started without"),
			Hint: "set machine-config.track_dirty_pages before the start, or take a full snapshot",
		}
	}
	return v.call(ctx, opCreateSnapshot, func(ctx context.Context, c *firecracker.Client) error {
		var err, merr error
		params.SnapshotPath, err = v.inside(roleSnapshot, params.SnapshotPath)
		params.MemFilePath, merr = v.inside(roleMemory, params.MemFilePath)
		if err := errors.Join(err, merr); err != nil {
			return err
		}
		return c.CreateSnapshot(ctx, params)
	})
}

func (v *VM) tracksDirtyPages() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.config.MachineConfig
	return c != nil && c.TrackDirtyPages || v.tracking
}

// LoadSnapshot loads a snapshot into a VM that Launch has prepared. It is
// Firecracker's plain call: disks, TAPs and sockets of the snapshot must be
// where they were. A load that fails ends the process. NO_CLIENT means that
// there is no process yet.
func (v *VM) LoadSnapshot(ctx context.Context, params firecracker.SnapshotLoadParams) error {
	if v.State() == Created {
		return v.noClient(string(opLoadSnapshot))
	}
	return v.call(ctx, opLoadSnapshot, func(ctx context.Context, c *firecracker.Client) error {
		params, err := v.snapshotPaths(params)
		if err != nil {
			return err
		}
		if err := c.LoadSnapshot(ctx, params); err != nil {
			return err
		}
		v.mu.Lock()
		v.tracking = params.TrackDirtyPages || params.EnableDiffSnapshots
		led := v.ledger
		v.mu.Unlock()
		state := Paused
		if params.ResumeVM {
			state = Running
		}
		v.setUnlessEnded(state)
		if led == nil {
			return nil
		}
		return led.Mark(markStarted)
	})
}

// snapshotPaths returns params with the paths that Firecracker is to be given.
// A page server's socket goes by the role of the memory that it serves.
func (v *VM) snapshotPaths(params firecracker.SnapshotLoadParams) (firecracker.SnapshotLoadParams, error) {
	var err error
	if params.SnapshotPath, err = v.inside(roleSnapshot, params.SnapshotPath); err != nil {
		return params, err
	}
	switch {
	case params.MemBackend != nil:
		backend := *params.MemBackend
		backend.BackendPath, err = v.inside(roleMemory, backend.BackendPath)
		params.MemBackend = &backend
	case params.MemFilePath != "":
		params.MemFilePath, err = v.inside(roleMemory, params.MemFilePath)
	}
	return params, err
}
