// Controller runs one VM through its whole life, to be killed on the way.
//
//	controller RUNTIME DATA KERNEL DRIVE VSOCK GRACE
//
// GRACE is how long the guest may take to shut down; "-1s" goes on to SIGTERM
// and then SIGKILL at once.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
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
	grace, err := time.ParseDuration(args[5])
	if err != nil {
		return err
	}
	m, err := smartvm.New(smartvm.Options{RuntimeDir: runtime, DataDir: data, FirecrackerPath: os.Getenv("SMARTVM_FIRECRACKER")})
	if err != nil {
		return err
	}
	vm, err := m.CreateVM("crash", vmconfig.Config{
		BootSource: firecracker.BootSource{KernelImagePath: kernel, BootArgs: hello.Stay},
		Drives:     []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "disk", PathOnHost: drive}}},
		Vsock:      &firecracker.Vsock{GuestCID: 3, UDSPath: vsock},
	})
	if err != nil {
		return err
	}
	if err := vm.Start(ctx); err != nil {
		return err
	}
	// A negative grace also skips the wait after SIGTERM, so that SIGKILL is reached.
	if err := vm.Stop(ctx, smartvm.StopOptions{Grace: grace, TermGrace: grace}); err != nil {
		return err
	}
	return m.Cleanup(ctx)
}
