package smartvm_test

import (
	"context"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// The body is the README's example.
func Example() {
	ctx := context.Background()

	m, err := smartvm.New(smartvm.Options{})
	check(err) // panics on an error
	defer func() { check(m.Cleanup(context.WithoutCancel(ctx))) }()
	vm, err := m.CreateVM("web", vmconfig.Config{
		BootSource:    firecracker.BootSource{KernelImagePath: "vmlinux", BootArgs: "console=ttyS0 reboot=k panic=1"},
		MachineConfig: &firecracker.MachineConfig{VCPUCount: 2, MemSizeMiB: 512},
		Drives:        []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "rootfs", PathOnHost: "root.ext4", IsRootDevice: true}}},
	})
	check(err)
	check(vm.Start(ctx))  // when it fails, everything is undone
	_, err = vm.Wait(ctx) // until the guest has shut down
	check(err)
}
