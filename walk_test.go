package smartvm_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/hello"
)

// A random walk: several goroutines do whatever comes to mind with one VM. Its
// state may only go forwards, and nothing may be left.
func TestRandomWalkNeverGoesBackAndLeavesNothing(t *testing.T) {
	for range 6 {
		seed := rand.Uint64()
		t.Run("", func(t *testing.T) {
			t.Logf("seed %d", seed)
			walk(t, seed)
		})
	}
}

func walk(t *testing.T, seed uint64) {
	t.Helper()
	s := bootSite(t)
	vm := s.create("", s.config(hello.CountEach(time.Millisecond), hello.Echo))
	operations := s.operations()
	operations["clean up"] = func(v *smartvm.VM) error { return v.Cleanup(t.Context()) }
	operations["kill"] = func(v *smartvm.VM) error {
		if entry, err := s.Inspect(t.Context(), v.ID()); err == nil && entry.PID != 0 {
			return unix.Kill(entry.PID, unix.SIGKILL)
		}
		return nil
	}
	operations["start briefly"] = func(v *smartvm.VM) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return v.Start(ctx)
	}
	names := slices.Sorted(maps.Keys(operations))
	stop := observe(t, vm)
	var wg sync.WaitGroup
	for worker := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, worker))
		wg.Go(func() {
			for range 25 {
				name := names[random.IntN(len(names))]
				if ending := name == "clean up" || name == "kill" || name == "stop"; ending && random.IntN(10) > 0 {
					continue // or the walk would be a short one
				}
				if err := operations[name](vm); err != nil && codeOf(err) == "" && name != "kill" {
					t.Errorf("%s: %v has no code", name, err)
				}
			}
		})
	}
	wg.Wait()
	must(t, vm.Cleanup(patient(t)))
	for _, state := range stop() {
		t.Logf("was %s", state)
	}
	if exists(vm.Dir()) {
		t.Error("the directory is left")
	}
}

// stage orders the states: a VM never goes back, and never leaves the last.
var stages = map[smartvm.State]int{
	smartvm.Created: 0, smartvm.Configuring: 1, smartvm.Running: 2, smartvm.Paused: 2, smartvm.Stopped: 3, smartvm.Failed: 3,
}

// observe watches a VM's state until the returned function is called, which
// returns the states seen.
func observe(t *testing.T, vm *smartvm.VM) (stop func() []smartvm.State) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan struct{})
	seen := []smartvm.State{vm.State()}
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Microsecond)
		defer tick.Stop()
		for {
			last, now := seen[len(seen)-1], vm.State()
			if now != last {
				seen = append(seen, now)
				if stages[now] < stages[last] || stages[last] == 3 {
					t.Errorf("the state went from %s to %s", last, now)
				}
			}
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	return func() []smartvm.State {
		close(done)
		<-ended
		return seen
	}
}

// A start that fails must not look like a stop on its way.
func TestFailedStartIsNeverStopped(t *testing.T) {
	s := fakeSite(t, fake{Refuse: map[string]string{"PUT /actions": "no"}})
	vm := s.create("", s.config())
	stop := observe(t, vm)
	wantCode(t, vm.Start(patient(t)), smartvm.ProcessExited)
	if seen := stop(); slices.Contains(seen, smartvm.Stopped) {
		t.Errorf("states %v", seen)
	}
}
