package smartvm

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/jail"
)

// CreateSnapshot writes the state and the memory of a paused VM to files. A
// diff snapshot needs track_dirty_pages in the machine config, or, of a VM that is
// from a snapshot itself, in the call that has loaded that. Disks are not part of
// it. Relative paths start at the working directory of this process.
func (v *VM) CreateSnapshot(ctx context.Context, params firecracker.SnapshotCreateParams) error {
	if err := v.State().check(opCreateSnapshot, string(v.id)); err != nil {
		return err
	}
	if params.SnapshotType == firecracker.DiffSnapshot {
		if err := v.canDiff(ctx); err != nil {
			return err
		}
	}
	if err := absolute(&params.SnapshotPath, &params.MemFilePath); err != nil {
		return &Error{Code: errcode.InvalidConfig, Op: string(opCreateSnapshot), Subject: string(v.id), Err: err}
	}
	return v.call(ctx, opCreateSnapshot, func(ctx context.Context, c *firecracker.Client) error {
		// The next diff will follow one that is in no store.
		return errors.Join(v.rememberSnapshot(nil), v.writeSnapshot(ctx, c, params))
	})
}

// writeSnapshot lets Firecracker write the state and the memory to files of the host.
func (v *VM) writeSnapshot(ctx context.Context, c *firecracker.Client, params firecracker.SnapshotCreateParams) error {
	state, err := v.bringOutput(ctx, roleSnapshot, params.SnapshotPath)
	if err != nil {
		return err
	}
	memory, err := v.bringOutput(ctx, roleMemory, params.MemFilePath)
	if err != nil {
		return errors.Join(err, v.withdraw(state))
	}
	params.SnapshotPath, params.MemFilePath = state.inside, memory.inside
	return errors.Join(full(c.CreateSnapshot(ctx, params)), v.withdraw(state, memory))
}

// full gives Firecracker's word for a full disk the code that it has elsewhere. All that
// there is of the error is its text.
func full(err error) error {
	said, is := errors.AsType[*Error](err)
	if !is || said.Code != errcode.APIError {
		return err
	}
	if text := said.Error(); !strings.Contains(text, "No space left on device") && !strings.Contains(text, "uota exceeded") {
		return err
	}
	return &Error{Code: errcode.NoSpace, Op: "write snapshot", Err: err, Hint: "free some room there, or remove snapshots: smartvm snapshot rm"}
}

// absolute resolves paths that are set. Firecracker would take a relative one
// from its own working directory, the VM's, which is gone with the VM.
func absolute(paths ...*string) error {
	for _, p := range paths {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}

// canDiff asks Firecracker whether it tracks dirty pages: the config does not tell
// for a VM from a snapshot, and only who loaded that knows what it said.
func (v *VM) canDiff(ctx context.Context) error {
	var config firecracker.MachineConfig
	err := v.call(ctx, opCreateSnapshot, func(ctx context.Context, c *firecracker.Client) (err error) {
		config, err = c.MachineConfig(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return v.tracksDirtyPages(config)
}

// tracksDirtyPages is an error where a diff is impossible, or would be wrong.
func (v *VM) tracksDirtyPages(config firecracker.MachineConfig) error {
	if !config.TrackDirtyPages {
		return &Error{
			Code: errcode.InvalidConfig, Op: string(opCreateSnapshot), Subject: string(v.id),
			Err: errors.New("a diff snapshot needs to know which pages have changed, and this VM was started without"),
			Hint: "set machine-config.track_dirty_pages before the start, or track_dirty_pages (until v1.12 enable_diff_snapshots) " +
				"when its snapshot is loaded; or take a full snapshot",
		}
	}
	v.mu.Lock()
	version := v.version
	v.mu.Unlock()
	if version.Compare(misplacedSince) < 0 || version.Compare(misplacedUntil) >= 0 || config.MemSizeMiB <= oneSlotMiB && v.config.MemoryHotplug == nil {
		return nil
	}
	return &Error{
		Code: errcode.HostUnsupported, Op: string(opCreateSnapshot), Subject: string(v.id),
		Err:  fmt.Errorf("firecracker %s writes diffs of memory in more than one part (over 3 GiB, or hot-plugged) to wrong places", version),
		Hint: "take a full snapshot, or use v1.14.2 or newer",
	}
}

// The releases from misplacedSince to before misplacedUntil seek in the file of a diff by
// what they skip, and forget what is unchanged at the end of a memory slot (CHANGELOG of
// v1.14.2, #5705; dump_dirty of v1.12 and v1.13 seeks from the beginning).
var (
	misplacedSince = firecracker.Version{Major: 1, Minor: 14}
	misplacedUntil = firecracker.Version{Major: 1, Minor: 14, Patch: 2}
)

// oneSlotMiB is as much memory as has one slot on x86, where devices have the addresses
// after that. On arm64 the first slot is larger; there it is too careful.
const oneSlotMiB = 3072

// LoadSnapshot loads a snapshot into a VM that Launch has prepared. It is
// Firecracker's plain call: disks, TAPs and sockets of the snapshot must be
// where they were. A load that fails ends the process. NO_CLIENT means that
// there is no process yet. Relative paths start at the working directory of this
// process.
func (v *VM) LoadSnapshot(ctx context.Context, params firecracker.SnapshotLoadParams) error {
	if v.State() == Created {
		return v.noClient(string(opLoadSnapshot))
	}
	paths := []*string{&params.SnapshotPath, &params.MemFilePath}
	if params.MemBackend != nil {
		params.MemBackend = new(*params.MemBackend) // the caller's stays as it is
		paths = append(paths, &params.MemBackend.BackendPath)
	}
	if err := absolute(paths...); err != nil {
		return &Error{Code: errcode.InvalidConfig, Op: string(opLoadSnapshot), Subject: string(v.id), Err: err}
	}
	return v.call(ctx, opLoadSnapshot, func(ctx context.Context, c *firecracker.Client) error {
		params, err := v.snapshotPaths(ctx, params)
		if err != nil {
			return err
		}
		if err := c.LoadSnapshot(ctx, params); err != nil {
			return err
		}
		v.mu.Lock()
		led, j := v.ledger, v.files.Jail
		v.mu.Unlock()
		if j != nil {
			if err := j.Seal(); err != nil {
				return err
			}
		}
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
func (v *VM) snapshotPaths(ctx context.Context, params firecracker.SnapshotLoadParams) (firecracker.SnapshotLoadParams, error) {
	var err error
	if params.SnapshotPath, err = v.bring(ctx, roleSnapshot, params.SnapshotPath, jail.Read); err != nil {
		return params, err
	}
	switch {
	case params.MemBackend != nil:
		backend := *params.MemBackend
		access := jail.Read
		if backend.BackendType == "Uffd" { // a socket, to be connected to
			access |= jail.Write
		}
		backend.BackendPath, err = v.bring(ctx, roleMemory, backend.BackendPath, access)
		params.MemBackend = &backend
	case params.MemFilePath != "":
		params.MemFilePath, err = v.bring(ctx, roleMemory, params.MemFilePath, jail.Read)
	}
	return params, err
}
