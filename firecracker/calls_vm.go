package firecracker

import "context"

// PutMMDS replaces the metadata. Nil stands for no metadata.
func (c *Client) PutMMDS(ctx context.Context, m Metadata) error { return c.Do(ctx, PutMMDS(m)) }

// PatchMMDS merges m into the metadata as RFC 7396 says: null removes a key.
func (c *Client) PatchMMDS(ctx context.Context, m Metadata) error { return c.Do(ctx, PatchMMDS(m)) }

// StartInstance boots the VM.
func (c *Client) StartInstance(ctx context.Context) error { return c.Do(ctx, StartInstance()) }

// FlushMetrics writes a line of metrics now.
func (c *Client) FlushMetrics(ctx context.Context) error { return c.Do(ctx, FlushMetrics()) }

// SendCtrlAltDel presses Ctrl+Alt+Del on the guest's keyboard. x86_64 only; the guest may ignore it.
func (c *Client) SendCtrlAltDel(ctx context.Context) error { return c.Do(ctx, SendCtrlAltDel()) }

// Pause stops the vCPUs and all device I/O. Pausing twice is fine.
func (c *Client) Pause(ctx context.Context) error { return c.Do(ctx, Pause()) }

// Resume lets a paused VM run again.
func (c *Client) Resume(ctx context.Context) error { return c.Do(ctx, Resume()) }

// CreateSnapshot writes a paused VM's state and memory.
func (c *Client) CreateSnapshot(ctx context.Context, s SnapshotCreateParams) error {
	return c.Do(ctx, CreateSnapshot(s))
}

// LoadSnapshot makes a fresh process continue a snapshot.
func (c *Client) LoadSnapshot(ctx context.Context, s SnapshotLoadParams) error {
	return c.Do(ctx, LoadSnapshot(s))
}

// Info returns the instance's id, state and version.
func (c *Client) Info(ctx context.Context) (InstanceInfo, error) {
	return query[InstanceInfo](ctx, c, pathInfo)
}

// VMConfig returns the whole configuration in effect.
func (c *Client) VMConfig(ctx context.Context) (VMConfig, error) {
	return query[VMConfig](ctx, c, pathVMConfig)
}

// MMDS returns the metadata.
func (c *Client) MMDS(ctx context.Context) (Metadata, error) {
	return query[Metadata](ctx, c, pathMMDS)
}
