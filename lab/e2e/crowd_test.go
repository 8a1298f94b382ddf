package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
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

// work is how long a guest takes for a fixed job.
func work(t *testing.T, g *guest.Guest) time.Duration {
	t.Helper()
	began := time.Now()
	output(t, g, "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done")
	return time.Since(began)
}

func TestGreedyGuestLeavesItsNeighbourItsSpeed(t *testing.T) {
	claims(t, "S1.1", "The limits of a VM are in force in a control group of its own")
	claims(t, "S1.1", "A guest with a small weight that burns all it can get leaves its neighbour three quarters of its speed at least, where equal shares would leave half")
	hosttest.Need(t, hosttest.Cgroup)
	s := newSite(t, smartvm.Options{})
	config := s.config(baseimage.Squashfs)
	config.Limits = &vmconfig.Limits{CPUWeight: 100}
	_, neighbour := s.boot(config)
	config.Limits = &vmconfig.Limits{CPUWeight: 1, MemoryMiB: 256, PIDs: 64}
	vm, greedy := s.boot(config)
	for file, want := range map[string]string{"cpu.weight": "1", "memory.max": "268435456", "memory.swap.max": "0", "pids.max": "64"} {
		got, err := os.ReadFile(filepath.Join(s.group(vm), file))
		if strings.TrimSpace(string(got)) != want {
			t.Errorf("%s is %q, %v, want %s", file, got, err, want)
		}
	}

	// What else the host does slows down one measurement or another: the best ones count.
	const tries = 5
	var alone, beside time.Duration
	for range tries {
		took := work(t, neighbour)
		if alone == 0 || took < alone {
			alone = took
		}
		burning, err := greedy.Start(patient(t), "while :; do :; done & while :; do :; done")
		must(t, err)
		took = work(t, neighbour)
		must(t, burning.Kill(patient(t)))
		if _, err := burning.Wait(patient(t)); err != nil {
			t.Fatal(err)
		}
		if beside == 0 || took < beside {
			beside = took
		}
	}
	t.Logf("the neighbour takes %s alone, %s beside a greedy guest", alone, beside)
	// By weight it is 99 %. An emulated machine needs much of that to go to and fro.
	if float64(alone) < 0.75*float64(beside) {
		t.Errorf("the neighbour takes %s beside a greedy guest, %s alone", beside, alone)
	}
}
