package smartvm_test

import (
	"context"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/hello"
)

func securityItem(t *testing.T, s *smartvm.Security, item string) smartvm.SecurityVerdict {
	t.Helper()
	for _, v := range s.Verdicts {
		if v.Item == item {
			return v
		}
	}
	t.Fatalf("there is no verdict on %s", item)
	return smartvm.SecurityVerdict{}
}

func TestSecurityIsThatOfTheProcess(t *testing.T) {
	onBoth(t, func(s *site) {
		t := s.t
		vm := s.boot(hello.Stay)
		got, err := vm.Security(patient(t))
		must(t, err)
		if got.PID != s.pid(vm) || len(got.Threads) == 0 || len(got.Verdicts) == 0 {
			t.Errorf("got %+v", got)
		}
		if got.Environment == nil || *got.Environment != 0 {
			t.Errorf("variables: %v, want none", got.Environment)
		}
		if v := securityItem(t, got, "environment"); v.Status != smartvm.SecurityOK {
			t.Errorf("%+v", v)
		}
	})
}

func TestSecurityOfARealFirecrackerHasItsFilters(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Stay)
	got, err := vm.Security(patient(t))
	must(t, err)
	names := map[string]bool{}
	for _, thread := range got.Threads {
		names[thread.Name] = true
		if !thread.Kernel && (thread.Seccomp != "filter" || !thread.NoNewPrivs) {
			t.Errorf("thread %+v is under no filter", thread)
		}
	}
	if !names["fc_vcpu 0"] || !names["fc_api"] {
		t.Errorf("threads: %+v", got.Threads)
	}
	for _, item := range []string{"seccomp", "no_new_privs"} {
		if v := securityItem(t, got, item); v.Status != smartvm.SecurityOK {
			t.Errorf("%+v", v)
		}
	}
}

func TestSecurityOfAVMOfAnotherProcessIsRead(t *testing.T) {
	s := fakeSite(t, fake{})
	vm := s.boot(hello.Stay)
	other := s.another()
	attached, err := other.Attach(patient(t), vm.ID())
	must(t, err)
	got, err := attached.Security(patient(t))
	must(t, err)
	if got.PID != s.pid(vm) {
		t.Errorf("process %d, want %d", got.PID, s.pid(vm))
	}
}

func TestSecurityNeedsAProcess(t *testing.T) {
	s := fakeSite(t, fake{})
	vm := s.create("", s.config(hello.Stay))
	_, err := vm.Security(t.Context())
	wantCode(t, err, smartvm.InvalidState)
	must(t, vm.Start(patient(t)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = vm.Security(ctx)
	wantCode(t, err, smartvm.Cancelled)
	process, err := os.FindProcess(s.pid(vm))
	must(t, err)
	must(t, process.Signal(unix.SIGKILL))
	ended(t, vm)
	_, err = vm.Security(t.Context())
	wantCode(t, err, smartvm.InvalidState)
}
