// Controller runs one VM through its whole life, to be killed on the way.
//
//	controller RUNTIME DATA KERNEL DRIVE VSOCK GRACE [network|TAP]
//
// GRACE is how long the guest may take to shut down; "-1s" kills at once, "none"
// leaves even that to the clean-up. "snapshot" takes one and makes clones of it instead. The word network gives the VM two interfaces, any
// other one the caller's TAP of that name.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/netconfig"
	"github.com/smartvm/smartvm/vmconfig"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	runtime, data, kernel, drive, vsock := args[0], args[1], args[2], args[3], args[4]
	m, err := smartvm.New(smartvm.Options{
		RuntimeDir: runtime, DataDir: data, FirecrackerPath: os.Getenv("SMARTVM_FIRECRACKER"),
		Jail: smartvm.JailOptions{LeaseDir: filepath.Join(data, "users"), Off: os.Getenv("SMARTVM_TEST_JAIL") == "0"}, // usersIn and unjailed of the test
	})
	if err != nil {
		return err
	}
	config := vmconfig.Config{
		BootSource: firecracker.BootSource{KernelImagePath: kernel, BootArgs: hello.Stay},
		Drives:     []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "disk", PathOnHost: drive}}},
		Vsock:      &firecracker.Vsock{GuestCID: 3, UDSPath: vsock},

		MachineConfig: &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 16, TrackDirtyPages: args[5] == "snapshot"},
	}
	switch {
	case len(args) == 6:
	case args[6] != "network":
		config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0", HostDevName: args[6]}}
	default:
		config.NetworkInterfaces = []firecracker.NetworkInterface{{IfaceID: "eth0"}, {IfaceID: "eth1"}}
		config.Network = &vmconfig.Network{
			IPArgument: true, Egress: &netconfig.Policy{Default: netconfig.Deny}, Forwards: []netconfig.Forward{{HostPort: 8080, GuestPort: 80}},
		}
	}
	vm, err := m.CreateVM("crash", config)
	if err != nil {
		return err
	}
	if err := vm.Start(ctx); err != nil {
		return err
	}
	if args[5] == "snapshot" {
		err = clone(ctx, m, vm)
	} else {
		err = stop(ctx, vm, args[5])
	}
	if err != nil {
		return err
	}
	return m.Cleanup(ctx)
}

func clone(ctx context.Context, m *smartvm.Manager, vm *smartvm.VM) error {
	if _, err := vm.Snapshot(ctx, "warm", smartvm.SnapshotOptions{}); err != nil {
		return err
	}
	if _, err := vm.Snapshot(ctx, "later", smartvm.SnapshotOptions{Diff: true}); err != nil {
		return err
	}
	_, err := m.Clone(ctx, "later", 1, smartvm.CloneOptions{})
	return err
}

func stop(ctx context.Context, vm *smartvm.VM, text string) error {
	if text == "none" {
		return nil
	}
	grace, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	return vm.Stop(ctx, smartvm.StopOptions{Grace: grace, TermGrace: grace})
}
