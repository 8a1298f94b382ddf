package smartvm_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
)

// The graces are far from each other, so that the test can tell which steps were taken.
const (
	long  = time.Hour
	brief = 20 * time.Millisecond
	never = -1
)

func TestStopTakesOneStepAfterTheOther(t *testing.T) {
	tests := []struct {
		name   string
		words  string
		before func(t *testing.T, s *site, vm *smartvm.VM)
		opts   smartvm.StopOptions
		want   string
	}{
		{"the guest obeys Ctrl+Alt+Del", hello.Stay, nil, smartvm.StopOptions{Grace: long, TermGrace: long}, "exit code 0"},
		{"a deaf guest is terminated", hello.Hang, nil, smartvm.StopOptions{Grace: brief, TermGrace: long}, "signal 15 (SIGTERM)"},
		{"Ctrl+Alt+Del is left out", hello.Stay, nil, smartvm.StopOptions{Grace: never, TermGrace: long}, "signal 15 (SIGTERM)"},
		{"SIGTERM is left out", hello.Stay, nil, smartvm.StopOptions{Grace: never, TermGrace: never}, "signal 9 (SIGKILL)"},
		{"a paused guest is not asked", hello.Stay, pause, smartvm.StopOptions{Grace: long, TermGrace: long}, "signal 15 (SIGTERM)"},
		{"a frozen Firecracker is killed", hello.Stay, freeze, smartvm.StopOptions{Grace: brief, TermGrace: brief}, "signal 9 (SIGKILL)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := bootSiteWith(t, smartvm.Options{Jail: smartvm.JailOptions{Off: true}}) // SIGTERM does not get into one
			vm := s.boot(tt.words)
			follow(t, vm, smartvm.ConsoleOptions{}).find("boot args")
			if tt.before != nil {
				tt.before(t, s, vm)
			}
			must(t, vm.Stop(patient(t), tt.opts))
			wantState(t, vm, smartvm.Stopped)
			if end := ended(t, vm); end.Status.String() != tt.want || !end.Asked {
				t.Errorf("ended with %s, asked %t; want %s", end.Status, end.Asked, tt.want)
			}
		})
	}
}

func pause(t *testing.T, _ *site, vm *smartvm.VM) {
	t.Helper()
	must(t, vm.Pause(patient(t)))
}

func freeze(t *testing.T, s *site, vm *smartvm.VM) {
	t.Helper()
	must(t, unix.Kill(s.pid(vm), unix.SIGSTOP))
}

// A guest can be so quick that Firecracker ends before it has answered.
func TestStopWaitsForAGuestWhoseFirecrackerHangsUp(t *testing.T) {
	s := fakeSite(t, fake{Curt: true})
	vm := s.boot()
	must(t, vm.Stop(patient(t), smartvm.StopOptions{Grace: long, TermGrace: long}))
	if end := ended(t, vm); !end.Status.Success() || !end.Asked {
		t.Errorf("ended with %s, asked %t; want that nobody has killed it", end.Status, end.Asked)
	}
}

func TestStopThatIsCutShortCanBeRepeated(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Hang)
	ctx, cancel := context.WithTimeout(t.Context(), brief)
	defer cancel()
	err := vm.Stop(ctx, smartvm.StopOptions{Grace: long})
	if !errors.Is(err, context.DeadlineExceeded) || codeOf(err) != smartvm.Cancelled {
		t.Errorf("stop = %v (%s), want CANCELLED with the context's error", err, codeOf(err))
	}
	wantState(t, vm, smartvm.Running)
	must(t, vm.Stop(patient(t), smartvm.StopOptions{Grace: never}))
	wantState(t, vm, smartvm.Stopped)
}

func TestWaitIsBoundByItsContextOnly(t *testing.T) {
	s := bootSite(t)
	vm := s.create("", s.config(hello.Stay))
	_, err := vm.Wait(patient(t))
	wantCode(t, err, smartvm.InvalidState)
	must(t, vm.Start(patient(t)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if end, err := vm.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("wait = %v, %v", end, err)
	}
	wantState(t, vm, smartvm.Running)
}

func TestStopAllStopsEveryVMAndLeavesOthersAlone(t *testing.T) {
	s := bootSite(t)
	const n = 50
	errs := make(chan error, n)
	for range n {
		vm := s.create("", s.config(hello.Stay))
		go func() { errs <- vm.Start(patient(t)) }()
	}
	for range n {
		must(t, <-errs)
	}
	idle := s.create("idle", s.config())
	done := s.boot()
	ended(t, done)
	must(t, s.StopAll(patient(t), smartvm.StopOptions{}))
	for _, id := range s.VMs() {
		vm, _ := s.VM(id)
		if vm != idle {
			wantState(t, vm, smartvm.Stopped)
		}
	}
	wantState(t, idle, smartvm.Created)
	must(t, s.Cleanup(patient(t)))
	if s.Count() != 0 {
		t.Errorf("%v are left after the clean-up", s.VMs())
	}
	must(t, s.Cleanup(patient(t)))
}

func TestLaunchedVMCanBeStopped(t *testing.T) {
	s := bootSite(t)
	vm := s.create("", s.config())
	must(t, vm.Launch(patient(t)))
	wantState(t, vm, smartvm.Configuring)
	info, err := vm.Info(patient(t))
	if err != nil || info.State != firecracker.NotStarted {
		t.Errorf("info %+v, %v", info, err)
	}
	must(t, vm.Stop(patient(t), smartvm.StopOptions{}))
	wantState(t, vm, smartvm.Stopped)
}
