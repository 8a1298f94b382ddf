package firecracker

import "context"

// PutMachineConfig sets vCPUs and memory; what m leaves out gets its default.
func (c *Client) PutMachineConfig(ctx context.Context, m MachineConfig) error {
	return c.Do(ctx, PutMachineConfig(m))
}

// PatchMachineConfig changes only what m sets.
func (c *Client) PatchMachineConfig(ctx context.Context, m MachineConfigUpdate) error {
	return c.Do(ctx, PatchMachineConfig(m))
}

// PutBootSource sets kernel, initrd and kernel arguments. Firecracker opens both files at once.
func (c *Client) PutBootSource(ctx context.Context, b BootSource) error {
	return c.Do(ctx, PutBootSource(b))
}

// PutCPUConfig sets a custom CPU template.
func (c *Client) PutCPUConfig(ctx context.Context, cpu CPUConfig) error {
	return c.Do(ctx, PutCPUConfig(cpu))
}

// PutMMDSConfig says which interfaces answer metadata requests, and how. The
// interfaces must have been added before.
func (c *Client) PutMMDSConfig(ctx context.Context, m MMDSConfig) error {
	return c.Do(ctx, PutMMDSConfig(m))
}

// PutLogger says where Firecracker logs, and how much.
func (c *Client) PutLogger(ctx context.Context, l Logger) error { return c.Do(ctx, PutLogger(l)) }

// PutMetrics says where Firecracker writes its metrics.
func (c *Client) PutMetrics(ctx context.Context, m Metrics) error { return c.Do(ctx, PutMetrics(m)) }

// MachineConfig returns the machine configuration in effect.
func (c *Client) MachineConfig(ctx context.Context) (MachineConfig, error) {
	return query[MachineConfig](ctx, c, pathMachineConfig)
}
