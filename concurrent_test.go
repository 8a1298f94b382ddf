package smartvm_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/hello"
)

func TestCancelledStartLeavesNothingAtWhateverMomentItComes(t *testing.T) {
	s := bootSite(t)
	s.boot(hello.Stay) // the binary has been looked at
	began := time.Now()
	s.boot(hello.Stay)
	whole := time.Since(began)
	must(t, s.Cleanup(patient(t)))
	before := len(tree(t, s.runtime)) + len(tree(t, s.data))
	failed := 0
	for range 50 {
		vm := s.create("", s.config(hello.Stay))
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(whole)*3/2)))
		err := vm.Start(ctx)
		cancel()
		if err == nil { // and now it is too late
			<-ctx.Done()
			if _, err := vm.Info(patient(t)); err != nil {
				t.Errorf("a cancel after the start hurt: %v", err)
			}
			must(t, vm.Cleanup(patient(t)))
			continue
		}
		failed++
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("start = %v, want the context's error", err)
		}
		if vm.State() != smartvm.Failed && vm.State() != smartvm.Created { // Created: it did not get its turn
			t.Errorf("state is %s", vm.State())
		}
		if n := len(tree(t, s.runtime)) + len(tree(t, s.data)); n != before {
			t.Fatalf("left: %v", tree(t, s.runtime))
		}
	}
	if failed == 0 {
		t.Error("no start was cut short")
	}
}

func TestHundredsOfStartsSomeOfThemCancelled(t *testing.T) {
	s := bootSite(t)
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		vm := s.create("", s.config(hello.Stay))
		ctx, cancel := context.WithCancel(t.Context())
		if i%3 == 0 {
			time.AfterFunc(time.Duration(rand.Int64N(int64(2*time.Second))), cancel)
		}
		wg.Go(func() {
			defer cancel()
			err := vm.Start(ctx)
			switch {
			case err == nil:
				wantState(t, vm, smartvm.Running)
			case i%3 != 0 || !errors.Is(err, context.Canceled):
				t.Errorf("start = %v", err)
			case exists(vm.Dir()):
				t.Errorf("%s is left after %v", vm.Dir(), err)
			}
		})
	}
	wg.Wait()
	must(t, s.Cleanup(patient(t)))
}

func TestEveryCallMayBeMadeByManyAtOnce(t *testing.T) {
	s := bootSite(t)
	operations := s.operations()
	vm := s.create("", s.config(hello.CountEach(time.Millisecond)))
	must(t, vm.Start(patient(t)))
	var wg sync.WaitGroup
	for range 4 {
		for name, do := range operations {
			if name == "stop" || name == "wait" {
				continue
			}
			wg.Go(func() {
				for range 3 {
					if err := do(vm); err != nil && codeOf(err) == "" {
						t.Errorf("%s: %v has no code", name, err)
					}
				}
			})
		}
		wg.Go(func() {
			_, _ = vm.State(), vm.Drives()
			_, _, _ = vm.Config(), vm.Ended(), vm.Dir()
			_, _ = vm.Client()
			_, _ = s.Inventory(t.Context())
			_, _ = s.GC(t.Context(), smartvm.GCOptions{})
			_, _ = s.VMs(), s.Count()
		})
	}
	wg.Wait()
	if vm.State() != smartvm.Running && vm.State() != smartvm.Paused {
		t.Errorf("state is %s, and nobody has stopped it", vm.State())
	}
	for range 4 {
		wg.Go(func() {
			if err := vm.Cleanup(patient(t)); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { _ = vm.Stop(patient(t), smartvm.StopOptions{Grace: never}) })
	}
	wg.Wait()
	wantState(t, vm, smartvm.Stopped)
}
