package firecracker

import "context"

// PutDrive adds a drive before the boot, or replaces the one of the same id.
func (c *Client) PutDrive(ctx context.Context, d Drive) error { return c.Do(ctx, PutDrive(d)) }

// HotplugDrive adds a drive to a VM that has started with --enable-pci.
func (c *Client) HotplugDrive(ctx context.Context, d Drive) error { return c.Do(ctx, HotplugDrive(d)) }

// PatchDrive gives a drive of a started VM another file or rate limiter.
func (c *Client) PatchDrive(ctx context.Context, d DriveUpdate) error {
	return c.Do(ctx, PatchDrive(d))
}

// DeleteDrive removes a drive from a started VM.
func (c *Client) DeleteDrive(ctx context.Context, id string) error { return c.Do(ctx, DeleteDrive(id)) }

// PutPmem adds a persistent memory device before the boot, or replaces the one of the same id.
func (c *Client) PutPmem(ctx context.Context, p Pmem) error { return c.Do(ctx, PutPmem(p)) }

// HotplugPmem adds a persistent memory device to a VM that has started with --enable-pci.
func (c *Client) HotplugPmem(ctx context.Context, p Pmem) error { return c.Do(ctx, HotplugPmem(p)) }

// PatchPmem changes the rate limiter of a started VM's persistent memory device.
func (c *Client) PatchPmem(ctx context.Context, p PmemUpdate) error { return c.Do(ctx, PatchPmem(p)) }

// DeletePmem removes a persistent memory device from a started VM.
func (c *Client) DeletePmem(ctx context.Context, id string) error { return c.Do(ctx, DeletePmem(id)) }

// PutNetworkInterface adds an interface before the boot, or replaces the one of
// the same id. Firecracker opens the TAP at once.
func (c *Client) PutNetworkInterface(ctx context.Context, n NetworkInterface) error {
	return c.Do(ctx, PutNetworkInterface(n))
}

// HotplugNetworkInterface adds an interface to a VM that has started with --enable-pci.
func (c *Client) HotplugNetworkInterface(ctx context.Context, n NetworkInterface) error {
	return c.Do(ctx, HotplugNetworkInterface(n))
}

// PatchNetworkInterface changes the rate limiters of a started VM's interface.
func (c *Client) PatchNetworkInterface(ctx context.Context, n NetworkInterfaceUpdate) error {
	return c.Do(ctx, PatchNetworkInterface(n))
}

// DeleteNetworkInterface removes an interface from a started VM.
func (c *Client) DeleteNetworkInterface(ctx context.Context, id string) error {
	return c.Do(ctx, DeleteNetworkInterface(id))
}

// PutVsock adds the vsock device. Firecracker binds its socket at once.
func (c *Client) PutVsock(ctx context.Context, v Vsock) error { return c.Do(ctx, PutVsock(v)) }

// PutEntropy adds the virtio-rng device.
func (c *Client) PutEntropy(ctx context.Context, e Entropy) error { return c.Do(ctx, PutEntropy(e)) }

// PutSerial says where the guest's serial output goes.
func (c *Client) PutSerial(ctx context.Context, s Serial) error { return c.Do(ctx, PutSerial(s)) }

// PutMemoryHotplug adds the virtio-mem device.
func (c *Client) PutMemoryHotplug(ctx context.Context, m MemoryHotplugConfig) error {
	return c.Do(ctx, PutMemoryHotplug(m))
}

// PatchMemoryHotplug asks the guest to plug or unplug memory.
func (c *Client) PatchMemoryHotplug(ctx context.Context, m MemoryHotplugUpdate) error {
	return c.Do(ctx, PatchMemoryHotplug(m))
}

// PutBalloon adds the balloon device.
func (c *Client) PutBalloon(ctx context.Context, b Balloon) error { return c.Do(ctx, PutBalloon(b)) }

// PatchBalloon changes the balloon's target size, once the guest's driver is up.
func (c *Client) PatchBalloon(ctx context.Context, b BalloonUpdate) error {
	return c.Do(ctx, PatchBalloon(b))
}

// PatchBalloonStats changes how often the guest reports statistics.
func (c *Client) PatchBalloonStats(ctx context.Context, b BalloonStatsUpdate) error {
	return c.Do(ctx, PatchBalloonStats(b))
}

// StartBalloonHinting starts one run of free page hinting.
func (c *Client) StartBalloonHinting(ctx context.Context, b BalloonHintingStart) error {
	return c.Do(ctx, StartBalloonHinting(b))
}

// StopBalloonHinting ends the run of free page hinting.
func (c *Client) StopBalloonHinting(ctx context.Context) error {
	return c.Do(ctx, StopBalloonHinting())
}

// Balloon returns the configuration of the balloon.
func (c *Client) Balloon(ctx context.Context) (Balloon, error) {
	return query[Balloon](ctx, c, pathBalloon)
}

// BalloonStats returns what the guest has last reported, once it has been asked to.
func (c *Client) BalloonStats(ctx context.Context) (BalloonStats, error) {
	return query[BalloonStats](ctx, c, pathBalloonStats)
}

// BalloonHinting returns how far the run of free page hinting is.
func (c *Client) BalloonHinting(ctx context.Context) (BalloonHintingStatus, error) {
	return query[BalloonHintingStatus](ctx, c, pathHintingStatus)
}

// MemoryHotplug returns the state of the virtio-mem device.
func (c *Client) MemoryHotplug(ctx context.Context) (MemoryHotplugStatus, error) {
	return query[MemoryHotplugStatus](ctx, c, pathMemoryHotplug)
}
