package smartvm_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
)

// operations does each thing that the table of states is about.
func (s *site) operations() map[string]func(*smartvm.VM) error {
	ctx := patient(s.t)
	over, cancel := context.WithCancel(ctx)
	cancel()
	create, load := s.snapshotParams()
	return map[string]func(*smartvm.VM) error{
		"start":            func(v *smartvm.VM) error { return v.Start(ctx) },
		"launch":           func(v *smartvm.VM) error { return v.Launch(ctx) },
		"load snapshot":    func(v *smartvm.VM) error { return v.LoadSnapshot(ctx, load) },
		"pause":            func(v *smartvm.VM) error { return v.Pause(ctx) },
		"resume":           func(v *smartvm.VM) error { return v.Resume(ctx) },
		"stop":             func(v *smartvm.VM) error { return v.Stop(ctx, smartvm.StopOptions{Grace: never}) },
		"look at security": func(v *smartvm.VM) error { _, err := v.Security(ctx); return err },
		"get info":         func(v *smartvm.VM) error { _, err := v.Info(ctx); return err },
		"set metadata":     func(v *smartvm.VM) error { return v.SetMetadata(ctx, firecracker.Metadata{"a": "b"}) },
		"get metadata":     func(v *smartvm.VM) error { _, err := v.GetMetadata(ctx); return err },
		"update device":    func(v *smartvm.VM) error { return v.UpdateDrive(ctx, "none", s.kernel) },
		"create snapshot": func(v *smartvm.VM) error {
			return v.CreateSnapshot(ctx, create)
		},
		"take snapshot": func(v *smartvm.VM) error {
			_, err := v.Snapshot(ctx, v.ID(), smartvm.SnapshotOptions{})
			return err
		},
		"detach": func(v *smartvm.VM) error { return v.Detach(ctx, nil) },
		"use console": func(v *smartvm.VM) error {
			r, err := v.OpenConsole(ctx, smartvm.ConsoleOptions{})
			if err != nil {
				return err
			}
			return r.Close()
		},
		"wait": func(v *smartvm.VM) error { _, err := v.Wait(over); return err },
	}
}

// bring makes a VM and brings it into a state.
func (s *site) bring(state smartvm.State) *smartvm.VM {
	s.t.Helper()
	vm := s.create("", s.config(hello.Stay))
	switch state {
	case smartvm.Created:
	case smartvm.Configuring:
		must(s.t, vm.Launch(patient(s.t)))
	default:
		must(s.t, vm.Start(patient(s.t)))
	}
	switch state {
	case smartvm.Paused:
		must(s.t, vm.Pause(patient(s.t)))
	case smartvm.Stopped:
		must(s.t, vm.Stop(patient(s.t), smartvm.StopOptions{Grace: never}))
	case smartvm.Failed:
		must(s.t, unix.Kill(s.pid(vm), unix.SIGKILL))
		ended(s.t, vm)
	default:
	}
	wantState(s.t, vm, state)
	return vm
}

func TestOperationsAreAllowedInTheirStatesAndChangeNothingInOthers(t *testing.T) {
	s := bootSite(t)
	allowed, operations := smartvm.Operations(), s.operations()
	if a, b := slices.Sorted(maps.Keys(allowed)), slices.Sorted(maps.Keys(operations)); !slices.Equal(a, b) {
		t.Fatalf("the table has %v, the test has %v", a, b)
	}
	states := []smartvm.State{smartvm.Created, smartvm.Configuring, smartvm.Running, smartvm.Paused, smartvm.Stopped, smartvm.Failed}
	for _, state := range states {
		same := s.bring(state)
		for op, do := range operations {
			if !slices.Contains(allowed[op], state) {
				wantRefused(t, same, op, state, allowed[op], do(same))
				continue
			}
			vm := s.bring(state)
			if err := do(vm); codeOf(err) == smartvm.InvalidState {
				t.Errorf("%s when %s = %v, want that it is allowed", op, state, err)
			}
			must(t, vm.Cleanup(patient(t)))
		}
	}
}

func wantRefused(t *testing.T, vm *smartvm.VM, op string, state smartvm.State, allowed []smartvm.State, err error) {
	t.Helper()
	e := wantCode(t, err, smartvm.InvalidState)
	if e.Op != op || e.Subject != vm.ID() {
		t.Errorf("%s when %s: the error is about %s %s", op, state, e.Op, e.Subject)
	}
	for _, name := range append([]smartvm.State{state}, allowed...) {
		if !strings.Contains(err.Error(), string(name)) {
			t.Errorf("%s when %s: %s is not in %v", op, state, name, err)
		}
	}
	wantState(t, vm, state)
}

func TestOtherCallsFollowTheStatesToo(t *testing.T) {
	s := bootSite(t)
	for _, state := range []smartvm.State{smartvm.Created, smartvm.Stopped, smartvm.Failed} {
		vm := s.bring(state)
		_, version := vm.Version(patient(t))
		for _, err := range []error{
			vm.WriteConsole(patient(t), []byte("x")), version, vm.UpdateBalloon(patient(t), 1),
			vm.UpdateNetworkInterface(patient(t), firecracker.NetworkInterfaceUpdate{IfaceID: "eth0"}),
			vm.UpdateDrive(patient(t), "none", "/no/such/file"),
			vm.CreateSnapshot(patient(t), firecracker.SnapshotCreateParams{SnapshotType: firecracker.DiffSnapshot}),
		} {
			wantCode(t, err, smartvm.InvalidState)
		}
		_, err := vm.Client()
		wantCode(t, err, smartvm.NoClient)
		wantState(t, vm, state)
	}
}
