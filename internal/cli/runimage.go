package cli

import (
	"context"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

// imageMiB is the memory of a VM that boots an image, if nobody says else. The
// distributions in images do not boot with Firecracker's default.
const imageMiB = 512

// imageConfig boots an image, which is fetched if need be.
func (a *app) imageConfig(ctx context.Context, m *smartvm.Manager, word string) (*vmconfig.Config, error) {
	req, err := imageRequest(word)
	if err != nil {
		return nil, usageError{err}
	}
	if req.ID == "" {
		req.FirecrackerVersion = firecracker.Version(a.wanted)
	}
	b, err := ensureImage(ctx, m, req)
	if err != nil {
		return nil, err
	}
	config := smartvm.ImageConfig(b)
	config.MachineConfig = &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: imageMiB}
	if a.firecracker == "" {
		return &config, nil
	}
	// A binary that was given is used; the release that the image names is advice.
	config.FirecrackerVersion = firecracker.Version{}
	used, err := m.EnsureBinary(ctx)
	if err != nil {
		return nil, err
	}
	if used.Version != b.FirecrackerVersion {
		a.say("warning: %s is made for Firecracker %s, and %s is %s", b.ID, b.FirecrackerVersion, a.firecracker, used.Version)
	}
	return &config, nil
}
