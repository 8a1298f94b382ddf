package smartvm

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// call runs one call of Firecracker's API as an operation of the VM.
func (v *VM) call(ctx context.Context, op operation, do func(context.Context, *firecracker.Client) error) error {
	end, err := v.begin(ctx, op)
	if err != nil {
		return err
	}
	defer end()
	v.mu.Lock()
	client := v.client
	v.mu.Unlock()
	done := v.guardCall()
	err = do(ctx, client)
	done()
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && errors.Is(err, errcode.SocketRequestFailed) && v.endedSoon() != nil {
		err = errors.Join(v.exited(), err)
	}
	return &Error{Code: errcode.Of(err, errcode.APIError), Op: string(op), Subject: string(v.id), Err: err, StatusCode: statusOf(err)}
}

func statusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.StatusCode
	}
	return 0
}

// Pause stops the guest's vCPUs. Its devices stand still too.
func (v *VM) Pause(ctx context.Context) error {
	return v.call(ctx, opPause, func(ctx context.Context, c *firecracker.Client) error {
		err := c.Pause(ctx)
		if err == nil {
			v.setUnlessEnded(Paused)
		}
		return err
	})
}

// Resume lets a paused guest go on.
func (v *VM) Resume(ctx context.Context) error {
	return v.call(ctx, opResume, func(ctx context.Context, c *firecracker.Client) error {
		err := c.Resume(ctx)
		if err == nil {
			v.setUnlessEnded(Running)
		}
		return err
	})
}

// Info asks Firecracker about the instance.
func (v *VM) Info(ctx context.Context) (info firecracker.InstanceInfo, err error) {
	err = v.call(ctx, opInfo, func(ctx context.Context, c *firecracker.Client) error {
		info, err = c.Info(ctx)
		return err
	})
	return info, err
}

// Version asks Firecracker for its version.
func (v *VM) Version(ctx context.Context) (version firecracker.Version, err error) {
	err = v.call(ctx, opInfo, func(ctx context.Context, c *firecracker.Client) error {
		version, err = c.Version(ctx)
		return err
	})
	return version, err
}

// SetMetadata replaces what the guest finds in its metadata service (MMDS).
func (v *VM) SetMetadata(ctx context.Context, data firecracker.Metadata) error {
	return v.call(ctx, opSetMetadata, func(ctx context.Context, c *firecracker.Client) error { return c.PutMMDS(ctx, data) })
}

// GetMetadata returns what the guest finds in its metadata service (MMDS).
func (v *VM) GetMetadata(ctx context.Context) (data firecracker.Metadata, err error) {
	err = v.call(ctx, opGetMetadata, func(ctx context.Context, c *firecracker.Client) error {
		data, err = c.MMDS(ctx)
		return err
	})
	return data, err
}

// UpdateDrive gives a drive another file. The file is used as it is: it is not staged.
func (v *VM) UpdateDrive(ctx context.Context, id, path string) error {
	if err := v.State().check(opUpdate, string(v.id)); err != nil {
		return err
	}
	abs, err := filepath.Abs(path)
	if err == nil {
		err = readable(abs)
	}
	if err != nil {
		return &Error{Code: errcode.InvalidConfig, Op: string(opUpdate), Subject: id, Details: []errcode.Detail{{Field: "path_on_host", Message: err.Error()}}}
	}
	return v.call(ctx, opUpdate, func(ctx context.Context, c *firecracker.Client) error {
		inside, err := v.bring(ctx, driveRole(id), abs, driveAccess(v.config, id))
		if err != nil {
			return err
		}
		return c.PatchDrive(ctx, firecracker.DriveUpdate{DriveID: id, PathOnHost: inside})
	})
}

// UpdateNetworkInterface changes the rate limiters of an interface: nil buckets
// stay as they are, a bucket of size 0 is switched off.
func (v *VM) UpdateNetworkInterface(ctx context.Context, update firecracker.NetworkInterfaceUpdate) error {
	return v.call(ctx, opUpdate, func(ctx context.Context, c *firecracker.Client) error {
		return c.PatchNetworkInterface(ctx, update)
	})
}

// UpdateBalloon sets the size that the balloon is to have, in MiB.
func (v *VM) UpdateBalloon(ctx context.Context, mib int) error {
	return v.call(ctx, opUpdate, func(ctx context.Context, c *firecracker.Client) error {
		return c.PatchBalloon(ctx, firecracker.BalloonUpdate{AmountMiB: mib})
	})
}
