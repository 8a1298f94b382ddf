package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/lab/guest"
)

func TestPausedGuestStandsStillUntilItIsResumed(t *testing.T) {
	claims(t, "S4.3", "A paused guest does nothing; resumed, it goes on where it was")
	claims(t, "S4.1", "A call that the state of a VM does not allow is INVALID_STATE and changes nothing")
	claims(t, "S4.10", "A guest that reboots ends its VM, whose state is then stopped")
	s := newSite(t, smartvm.Options{})
	vm, g := s.boot(s.config(baseimage.Squashfs))
	counter, err := g.Start(patient(t), "while :; do i=$((i+1)); echo $i; usleep 50000; done")
	must(t, err)
	must(t, counter.WaitOutput(patient(t), "\n5\n"))
	began := time.Now()
	must(t, counter.WaitOutput(patient(t), "\n10\n"))
	while := 2 * time.Since(began) // in which it would count to ten
	refused(t, vm, smartvm.Running, vm.Start, vm.Resume)

	must(t, vm.Pause(patient(t)))
	refused(t, vm, smartvm.Paused, vm.Start, vm.Pause, vm.Launch)
	mute(t, g, while) // what is on its way arrives
	before := counter.Result().Stdout
	mute(t, g, while)
	if after := counter.Result().Stdout; after != before {
		t.Errorf("the paused guest has counted on: %q", strings.TrimPrefix(after, before))
	}

	must(t, vm.Resume(patient(t)))
	last := strings.Count(before, "\n")
	must(t, counter.WaitOutput(patient(t), fmt.Sprintf("\n%d\n%d\n", last, last+1)))
	refused(t, vm, smartvm.Running, vm.Resume)
	must(t, counter.Kill(patient(t)))
	_, err = counter.Wait(patient(t))
	must(t, err)

	_, err = g.Start(patient(t), "reboot")
	must(t, err)
	endedItself(t, vm)
	refused(t, vm, smartvm.Stopped, vm.Start, vm.Pause, vm.Resume)
}

// refused wants calls to fail in a state, and that to stay.
func refused(t *testing.T, vm *smartvm.VM, state smartvm.State, calls ...func(context.Context) error) {
	t.Helper()
	for i, call := range calls {
		if err := call(patient(t)); !errors.Is(err, smartvm.InvalidState) || !strings.Contains(err.Error(), string(state)) {
			t.Errorf("call %d of a VM that is %s: got %v", i, state, err)
		}
		if vm.State() != state {
			t.Fatalf("call %d has made the VM %s", i, vm.State())
		}
	}
	info, err := vm.Info(patient(t))
	states := map[smartvm.State]firecracker.InstanceState{smartvm.Running: firecracker.Running, smartvm.Paused: firecracker.Paused}
	if info.State != states[state] || (err == nil) != (info.State != "") {
		t.Errorf("Firecracker says %q, %v of a VM that is %s", info.State, err, state)
	}
}

// mute wants no answer from a guest for a while.
func mute(t *testing.T, g *guest.Guest, while time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), while)
	defer cancel()
	if err := g.Hello(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("asked, the guest gives %v", err)
	}
}

// endedItself wants the end of a VM whose guest has asked for it.
func endedItself(t *testing.T, vm *smartvm.VM) {
	t.Helper()
	end, err := vm.Wait(patient(t))
	must(t, err)
	if end.Asked || !end.Status.Success() || vm.State() != smartvm.Stopped {
		t.Errorf("ended %+v, and is %s", end, vm.State())
	}
}

func TestGuestThatPanicsEndsItsVM(t *testing.T) {
	claims(t, "S4.10", "A guest that panics ends its VM where its kernel reboots then (panic=), and its last words are kept")
	s := newSite(t, smartvm.Options{})
	vm, g := s.boot(s.config(baseimage.Squashfs))
	_, err := g.Run(patient(t), "echo c >/proc/sysrq-trigger")
	if !errors.Is(err, guest.ErrGone) {
		t.Errorf("the command ends with %v, want that the guest is gone", err)
	}
	endedItself(t, vm)
	sees(t, vm, "Kernel panic - not syncing: sysrq triggered crash")
}

// sees waits for a text in what the guest has said and says.
func sees(t *testing.T, vm *smartvm.VM, text string) {
	t.Helper()
	console, err := vm.OpenConsole(patient(t), smartvm.ConsoleOptions{Follow: true})
	must(t, err)
	defer console.Close()
	lines := bufio.NewScanner(console)
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return
		}
	}
	t.Fatalf("the console ends without %q: %v", text, lines.Err())
}

func TestGuestThatDoesNotShutDownIsStoppedByForce(t *testing.T) {
	claims(t, "S4.3", "Stop ends by force a guest that ignores Ctrl+Alt+Del, when its grace is over")
	claims(t, "S4.11", "A Stop whose context ends leaves the guest alive")
	claims(t, "S4.10", "On x86_64 a guest that powers off halts, and its VM stays until it is stopped")
	s := newSite(t, smartvm.Options{})
	vm, g := s.boot(s.config(baseimage.Squashfs))
	// The kernel tells this process of Ctrl+Alt+Del, and not the first one.
	deaf, err := g.Start(patient(t), "trap 'echo pressed' INT; echo $$ >/proc/sys/kernel/cad_pid; echo deaf; while :; do usleep 50000; done")
	must(t, err)
	must(t, deaf.WaitOutput(patient(t), "deaf\n"))

	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- vm.Stop(ctx, smartvm.StopOptions{Grace: patience}) }()
	heard := deaf.WaitOutput(patient(t), "pressed\n")
	cancel()
	if err := <-stopped; !errors.Is(err, smartvm.Cancelled) || heard != nil {
		t.Errorf("Stop gives %v, the guest %v", err, heard)
	}
	must(t, deaf.Kill(patient(t)))
	if got := output(t, g, "echo alive"); got != "alive" || vm.State() != smartvm.Running {
		t.Errorf("the guest says %q, and the VM is %s", got, vm.State())
	}

	_, err = g.Start(patient(t), "poweroff")
	must(t, err)
	sees(t, vm, "reboot: System halted")
	if info, err := vm.Info(patient(t)); err != nil || info.State != firecracker.Running || vm.Ended() != nil {
		t.Errorf("Firecracker says %+v, %v of a guest that has powered off", info, err)
	}
	must(t, vm.Stop(patient(t), smartvm.StopOptions{Grace: time.Second}))
	if end := vm.Ended(); end == nil || !end.Asked || end.Status.Signal == 0 || vm.State() != smartvm.Stopped {
		t.Errorf("ended %+v, and is %s", end, vm.State())
	}
}
