package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

// defaultBootArgs give a kernel a serial console, which Firecracker's own
// default lacks, and let a reboot end Firecracker.
const defaultBootArgs = "console=ttyS0 reboot=k panic=1"

// runConfig is what is run, with the flags on top.
func (a *app) runConfig(ctx context.Context, m *smartvm.Manager, f *runFlags) (*vmconfig.Config, error) {
	config, err := a.baseConfig(ctx, m, f)
	if err != nil {
		return nil, err
	}
	if wanted := firecracker.Version(a.wanted); !wanted.IsZero() {
		config.FirecrackerVersion = wanted
	}
	f.setBoot(&config.BootSource)
	f.setMachine(config)
	f.drives.addTo(config)
	if err := f.net.addTo(a, config); err != nil {
		return nil, err
	}
	f.limit.addTo(config)
	if f.vsock.path != "" {
		config.Vsock = &firecracker.Vsock{GuestCID: f.vsock.cid, UDSPath: f.vsock.path}
	}
	if f.metadata != "" {
		return config, a.setMetadata(config, f.metadata)
	}
	return config, nil
}

// baseConfig is what is run: an image, the file or the built-in guest.
func (a *app) baseConfig(ctx context.Context, m *smartvm.Manager, f *runFlags) (*vmconfig.Config, error) {
	switch {
	case f.changed("image"):
		return a.imageConfig(ctx, m, f.image)
	case !f.hello:
		return a.readConfig(f.file)
	}
	path, err := placeHello(m.DataDir())
	return &vmconfig.Config{BootSource: firecracker.BootSource{KernelImagePath: path}}, err
}

func (a *app) readConfig(path string) (*vmconfig.Config, error) {
	if path == "" {
		return &vmconfig.Config{}, nil
	}
	data, err := a.readFileOrStdin(path)
	if err != nil {
		return nil, fmt.Errorf("read vm file: %w", err)
	}
	config, err := vmconfig.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return config, nil
}

func (f *runFlags) setBoot(boot *firecracker.BootSource) {
	if f.kernel != "" {
		boot.KernelImagePath = f.kernel
	}
	if f.initrd != "" {
		boot.InitrdPath = f.initrd
	}
	switch {
	case f.changed("boot-args"):
		boot.BootArgs = f.bootArgs
	case f.kernel != "" && f.file == "":
		boot.BootArgs = defaultBootArgs
	}
	if len(f.words) > 0 {
		boot.BootArgs = strings.TrimSpace(boot.BootArgs + " " + strings.Join(f.words, " "))
	}
}

// setMachine keeps Firecracker's defaults of 1 vCPU and 128 MiB, or those of an
// image, for the one of the two that is not given.
func (f *runFlags) setMachine(config *vmconfig.Config) {
	if !f.changed("vcpus") && !f.changed("memory") {
		return
	}
	if config.MachineConfig == nil {
		config.MachineConfig = &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 128}
	}
	if f.changed("vcpus") {
		config.MachineConfig.VCPUCount = int(f.vcpus)
	}
	if f.changed("memory") {
		config.MachineConfig.MemSizeMiB = int(f.memory)
	}
}

// freeID returns prefix with the first number from n on that is not taken yet.
func freeID(prefix string, n int, taken map[string]bool) string {
	for ; ; n++ {
		if id := fmt.Sprintf("%s%d", prefix, n); !taken[id] {
			taken[id] = true
			return id
		}
	}
}

// setMetadata also lets the interfaces answer for it, if the file does not say
// which ones do.
func (a *app) setMetadata(config *vmconfig.Config, arg string) error {
	data, err := a.readArgument(arg)
	if err != nil {
		return fmt.Errorf("read metadata: %w", err)
	}
	object, err := parseObject(data)
	if err != nil {
		return usageError{fmt.Errorf("metadata: %w", err)}
	}
	config.Metadata = object
	if config.MMDSConfig != nil || len(config.NetworkInterfaces) == 0 {
		return nil
	}
	config.MMDSConfig = &firecracker.MMDSConfig{Version: "V2"}
	for _, n := range config.NetworkInterfaces {
		config.MMDSConfig.NetworkInterfaces = append(config.MMDSConfig.NetworkInterfaces, n.IfaceID)
	}
	return nil
}
