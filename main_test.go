package smartvm_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/pager"
	"github.com/smartvm/smartvm/vmconfig"
)

// The test binary is other programs as well. A file beside it makes it a fake
// Firecracker (see [fake]); its first argument makes it one of these.
const (
	keeperProgram = "keep-console" // RUNTIME DATA ID
	ownerProgram  = "own-vm"       // RUNTIME DATA FIRECRACKER KERNEL ID: starts a VM and holds it until its input ends
	pagesProgram  = "serve-pages"  // [WORKING-SET]
	userProgram   = "use-pool"     // RUNTIME DATA FIRECRACKER KERNEL POOLS: does what its input says, see poolUser
)

func TestMain(m *testing.M) { os.Exit(act(m)) }

func act(m *testing.M) int {
	if f, ok := played(os.Args[0]); ok {
		leave(f.play(os.Args[1:]))
	}
	if len(os.Args) < 2 {
		return m.Run()
	}
	switch os.Args[1] {
	case keeperProgram:
		leave(exitCode(keepConsole(os.Args[2], os.Args[3], os.Args[4])))
	case pagesProgram:
		leave(exitCode(pager.Serve(context.Background(), pager.Inherited(os.Args[2:], slog.New(slog.DiscardHandler)))))
	case userProgram:
		leave(exitCode(usePool(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6])))
	case ownerProgram:
		leave(exitCode(ownVM(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6])))
	}
	return m.Run()
}

// leave ends the process without the second that os.Exit sleeps in a program
// built with -race; GORACE can't say so in an empty environment.
func leave(code int) { unix.Exit(code) }

func exitCode(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func keepConsole(runtimeDir, dataDir, id string) error {
	m, err := smartvm.New(smartvm.Options{RuntimeDir: runtimeDir, DataDir: dataDir})
	if err != nil {
		return err
	}
	vm, err := m.Attach(context.Background(), id)
	if err != nil {
		return err
	}
	return vm.KeepConsole(context.Background())
}

// ownVM prints "ready" or the code of the error, and lets go of the VM without
// cleaning up, as a program does that is killed.
func ownVM(runtimeDir, dataDir, binary, kernel, id string) error {
	m, err := smartvm.New(smartvm.Options{RuntimeDir: runtimeDir, DataDir: dataDir, FirecrackerPath: binary, Jail: smartvm.JailOptions{Off: unjailed(binary), LeaseDir: usersIn(dataDir)}})
	if err != nil {
		return err
	}
	vm, err := m.CreateVM(id, vmconfig.Config{
		BootSource: firecracker.BootSource{KernelImagePath: kernel, BootArgs: "hello.stay"},
	})
	if err != nil {
		return err
	}
	if err := vm.Start(context.Background()); err != nil {
		fmt.Println(codeOf(err))
		return nil
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
