package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/vmconfig"
)

// group is the directory of a VM's control group.
func (s *site) group(vm *smartvm.VM) string {
	s.t.Helper()
	entry, err := s.manager.Inspect(patient(s.t), vm.ID())
	must(s.t, err)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", entry.PID))
	must(s.t, err)
	_, path, unified := strings.Cut(string(text), "0::")
	if !unified {
		s.t.Fatalf("no unified hierarchy: %s", text)
	}
	return filepath.Join("/sys/fs/cgroup", strings.TrimSpace(path))
}

func TestGreedyGuestLeavesItsNeighbourItsSpeed(t *testing.T) {
	claims(t, "S1.1", "The limits of a VM are in force in a control group of its own")
	claims(t, "S1.1", "A guest that spins, and so takes all of its limit of processor time, leaves its neighbour nine tenths of the processor time that it has alone")
	hosttest.Need(t, hosttest.Cgroup)
	s := newSite(t, smartvm.Options{})
	config := s.config(baseimage.Squashfs)
	config.Limits = &vmconfig.Limits{CPUWeight: 100}
	vm, neighbour := s.boot(config)
	greedy := s.spinning(vmconfig.Limits{CPU: 0.05, CPUWeight: 1, MemoryMiB: 256, PIDs: 64})
	for file, want := range map[string]string{
		"cpu.max": "5000 100000", "cpu.weight": "1", "memory.max": "268435456", "memory.swap.max": "0", "pids.max": "64",
	} {
		got, err := os.ReadFile(filepath.Join(s.group(greedy), file))
		if strings.TrimSpace(string(got)) != want {
			t.Errorf("%s is %q, %v, want %s", file, got, err, want)
		}
	}
	// How long the work takes depends on what else the emulator's host does; which part of
	// that time the neighbour has the processor depends on the greedy guest alone.
	const tries = 5
	var alone, beside []float64
	for range tries {
		beside = append(beside, s.share(vm, neighbour))
		must(t, greedy.Pause(patient(t)))
		alone = append(alone, s.share(vm, neighbour))
		must(t, greedy.Resume(patient(t)))
	}
	slices.Sort(alone)
	slices.Sort(beside)
	t.Logf("the neighbour has %.3f of the processor alone, %.3f beside a greedy guest", alone, beside)
	if got, want := beside[tries/2], 0.9*alone[tries/2]; got < want {
		t.Errorf("the neighbour has %.3f of the processor beside a greedy guest, want %.3f", got, want)
	}
}

// share is which part of the time a VM has the processor while its guest works.
func (s *site) share(vm *smartvm.VM, g *guest.Guest) float64 {
	s.t.Helper()
	used, began := s.used(vm), time.Now()
	output(s.t, g, "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done")
	took := time.Since(began)
	s.t.Logf("the work takes %s", took)
	return float64(s.used(vm)-used) / float64(took)
}

// used is the processor time that a VM has had.
func (s *site) used(vm *smartvm.VM) time.Duration {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.group(vm), "cpu.stat"))
	must(s.t, err)
	var microseconds int64
	_, err = fmt.Sscanf(string(text), "usage_usec %d", &microseconds)
	must(s.t, err)
	return time.Duration(microseconds) * time.Microsecond
}

// spinning is a VM whose guest does nothing but spin, with interrupts off.
func (s *site) spinning(limits vmconfig.Limits) *smartvm.VM {
	s.t.Helper()
	kernel := filepath.Join(s.t.TempDir(), "hello")
	must(s.t, os.WriteFile(kernel, hello.Image(), 0o600))
	vm, err := s.manager.CreateVM("", vmconfig.Config{
		BootSource: firecracker.BootSource{KernelImagePath: kernel, BootArgs: hello.Hang}, Limits: &limits,
	})
	must(s.t, err)
	s.t.Cleanup(func() {
		if err := vm.Cleanup(context.WithoutCancel(s.t.Context())); err != nil {
			s.t.Error(err)
		}
	})
	must(s.t, vm.Start(patient(s.t)))
	return vm
}
