package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/vmconfig"
)

const (
	// firstLoops take a fraction of a second even where each is emulated.
	firstLoops = 100_000
	// shortSpin is too short next to the delay of a line on its way to us.
	shortSpin = 100 * time.Millisecond
	// mostLoops take hardware some tenths of a second.
	mostLoops = 500_000_000
	// guestTimeout bounds one boot of the guest.
	guestTimeout = 30 * time.Second
	// slowGuest is how many times slower than the host no hardware is.
	slowGuest = 10
)

// checkGuest boots the built-in guest and measures it.
func checkGuest(ctx context.Context, m *smartvm.Manager) []finding {
	dir, err := os.MkdirTemp(m.DataDir(), "doctor-")
	if err != nil {
		return []finding{failed("guest", err)}
	}
	found, err := measureGuest(ctx, m, dir)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return []finding{failed("guest", err)}
	}
	return found
}

func measureGuest(ctx context.Context, m *smartvm.Manager, dir string) ([]finding, error) {
	kernel, err := placeHello(dir)
	if err != nil {
		return nil, err
	}
	loops := uint64(firstLoops)
	run, err := spinGuest(ctx, m, kernel, loops)
	if err == nil && run.spin < shortSpin {
		loops = mostLoops
		run, err = spinGuest(ctx, m, kernel, loops)
	}
	if err != nil {
		return nil, err
	}
	boot := finding{Check: "guest", Status: fine, Found: fmt.Sprintf("boots and speaks within %s", run.boot.Round(time.Millisecond))}
	host, err := hello.SpinHost(loops)
	if err != nil {
		return []finding{boot}, nil //nolint:nilerr // another architecture: nothing to compare with
	}
	slower := float64(run.spin) / float64(max(host, 1))
	speed := finding{Check: "guest speed", Status: fine, Found: fmt.Sprintf("%.1f times the time of the host for the same loop", slower)}
	if slower > slowGuest {
		speed.Status = warning
		speed.Found = fmt.Sprintf("this KVM emulates guest code: it is %.0f times slower than the host", slower)
		speed.Fix = "use a host with hardware virtualisation (or nested virtualisation); Linux guests will be far too slow here"
	}
	return []finding{boot, speed}, nil
}

// spinRun is what one boot of the guest took.
type spinRun struct{ boot, spin time.Duration }

// spinGuest boots the guest, lets it loop and removes it.
func spinGuest(ctx context.Context, m *smartvm.Manager, kernel string, loops uint64) (run spinRun, err error) {
	vm, err := m.CreateVM("doctor-"+string(vmconfig.NewID()), vmconfig.Config{
		BootSource: firecracker.BootSource{KernelImagePath: kernel, BootArgs: hello.Spin(loops) + " " + hello.Exit},
	})
	if err != nil {
		return run, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, guestTimeout, fmt.Errorf("the guest was not done within %s", guestTimeout))
	defer cancel()
	began := time.Now()
	if err := vm.Start(ctx); err != nil {
		return run, err
	}
	defer func() {
		err = errors.Join(err, vm.Cleanup(context.WithoutCancel(ctx)))
		m.RemoveVM(vm.ID())
	}()
	console, err := vm.OpenConsole(ctx, smartvm.ConsoleOptions{Follow: true})
	if err != nil {
		return run, err
	}
	defer console.Close()
	var spinning time.Time
	lines := bufio.NewScanner(console)
	for lines.Scan() {
		switch strings.TrimSuffix(lines.Text(), "\r") {
		case hello.Greeting:
			run.boot = time.Since(began)
		case hello.SpinStart:
			spinning = time.Now()
		case hello.SpinEnd:
			run.spin = time.Since(spinning)
			return run, nil
		}
	}
	return run, errors.Join(lines.Err(), errors.New("the guest ended before it was done"))
}
