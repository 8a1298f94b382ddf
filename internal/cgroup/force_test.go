package cgroup_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/cgroup"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/proc"
)

func TestLimitsAreInForce(t *testing.T) {
	s := limitedScene(t)
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	disks, err := cgroup.LimitFiles([]string{hosttest.LoopDevice(t, image)}, cgroup.Rates{ReadBytes: 1 << 20, WriteBytes: 1 << 19, ReadOps: 100, WriteOps: 50})
	if err != nil {
		t.Fatal(err)
	}
	want := cgroup.Limits{CPU: 1.5, CPUWeight: 200, Memory: 64 << 20, MemoryHigh: 48 << 20, PIDs: 7, IO: disks}
	g := s.group("vm", want)
	if diff := cmp.Diff(want, s.status(recorded(t, g)).Limits); diff != "" {
		t.Errorf("in force (-want +got):\n%s", diff)
	}
	for file, text := range map[string]string{ // the kernel's own words
		"cpu.max": "150000 100000", "cpu.weight": "200", "memory.max": "67108864", "memory.high": "50331648", "memory.oom.group": "1", "pids.max": "7",
		"io.max": disks[0].Disk.String() + " rbps=1048576 wbps=524288 riops=100 wiops=50", "memory.swap.max": "0",
	} {
		if got := s.file(g, file); got != text {
			t.Errorf("%s has %q, want %q", file, got, text)
		}
	}
	if disks[0].Major != 7 { // that of loop devices
		t.Errorf("the loop device is taken for %s", disks[0].Disk)
	}
}

func TestGroupWithoutLimitsHasNone(t *testing.T) {
	s := limitedScene(t)
	limits := s.status(s.group("vm", cgroup.Limits{})).Limits
	if limits.CPUWeight = 0; !cmp.Equal(limits, cgroup.Limits{}) { // a weight is there always
		t.Errorf("it has %+v", limits)
	}
}

// Systemd takes controllers back that its own units do not use.
func TestParentKeepsItsControllers(t *testing.T) {
	s := limitedScene(t)
	g := s.plan(cgroup.Options{Name: "vm", Parent: s.parent + "/inner", Limits: cgroup.Limits{PIDs: 5}})
	t.Cleanup(func() { s.release(g) })
	if err := g.Create(); err != nil {
		t.Fatal(err)
	}
	err := os.WriteFile(filepath.Join(s.mount, s.parent, "cgroup.subtree_control"), []byte("-pids"), 0)
	if !errors.Is(err, unix.EBUSY) || s.file(g, "pids.max") != "5" {
		t.Errorf("take the controller from the parent: %v, want EBUSY; pids.max %s", err, s.file(g, "pids.max"))
	}
}

func TestMemoryLimitKillsTheGroupThatExceedsItAndNothingElse(t *testing.T) {
	s := limitedScene(t)
	const hog = "exec dd if=/dev/zero of=/dev/null bs=64M count=1"
	small, large := s.group("small", cgroup.Limits{Memory: 32 << 20}), s.group("large", cgroup.Limits{Memory: 256 << 20})
	companion, neighbour := s.start(small, "exec sleep 1000"), s.start(large, "exec sleep 1000")
	if got := s.wait(s.start(large, hog)); !got.Success() {
		t.Fatalf("what needs 64 MiB ended with %s where 256 are allowed", got)
	}
	if got := s.wait(s.start(small, hog)); got.Signal != int(unix.SIGKILL) {
		t.Errorf("what needs 64 MiB ended with %s where 32 are allowed", got)
	}
	if got := s.wait(companion); got.Signal != int(unix.SIGKILL) {
		t.Errorf("its companion in the group ended with %s", got)
	}
	if got := s.status(small); got.OOMKills == 0 || got.Populated {
		t.Errorf("the group that was killed: %+v", got)
	}
	if got := s.status(large); got.OOMKills != 0 || !got.Populated || ended(neighbour) || got.Memory == 0 {
		t.Errorf("the other group: %+v", got)
	}
}

func TestTaskLimitRefusesForks(t *testing.T) {
	s := limitedScene(t)
	g := s.group("vm", cgroup.Limits{PIDs: 3})
	s.start(g, "for i in 1 2 3 4 5; do sleep 1000 & done; wait")
	got := s.until(g, "no fork is refused", func(st *cgroup.Status) bool { return st.Refused > 0 })
	if got.PIDs > 3 {
		t.Errorf("there are %d tasks", got.PIDs)
	}
}

// A process that were moved into its group after the fork would not be refused, but
// would have run outside.
func TestProcessIsCountedBeforeItsFirstInstruction(t *testing.T) {
	s := limitedScene(t)
	g := s.group("vm", cgroup.Limits{PIDs: 1})
	s.start(g, "exec sleep 1000")
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if p, err := s.try(g, "echo ran", out); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("start of a second process: %v, want EAGAIN", err)
		if p != nil {
			s.wait(p)
		}
	}
	if text, err := os.ReadFile(out.Name()); err != nil || len(text) > 0 {
		t.Errorf("it has printed %q, %v", text, err)
	}
	if got := s.status(g); got.PIDs != 1 || got.Refused != 1 {
		t.Errorf("%+v, want one task and one refusal", got)
	}
}

func TestCPULimitThrottles(t *testing.T) {
	s := limitedScene(t)
	const cores, period = 0.2, 100_000 // microseconds
	limited, free := s.group("limited", cgroup.Limits{CPU: cores}), s.group("free", cgroup.Limits{CPUWeight: 100})
	for _, g := range []*cgroup.Group{limited, free} {
		s.start(g, "while :; do :; done")
	}
	got := s.until(limited, "it is not throttled", func(st *cgroup.Status) bool { return st.ThrottledPeriods >= 5 })
	// The kernel hands out its quota in slices, so a period may take some from the next.
	if used, quota := float64(got.CPU.Microseconds()), cores*period*float64(got.Periods+2); used > quota*1.5 || got.Throttled == 0 {
		t.Errorf("it had %.0f us in %d periods of %.0f us: %+v", used, got.Periods, cores*period, got)
	}
	if got := s.status(free); got.ThrottledPeriods != 0 || got.CPU == 0 {
		t.Errorf("without a limit: %+v", got)
	}
}

func TestParentWithProcessesIsRefused(t *testing.T) {
	s := limitedScene(t)
	busy := s.group("busy", cgroup.Limits{})
	p := s.start(busy, "exec sleep 1000")
	// The kernel refuses the one, and lets no process into a group with the other.
	for _, l := range []cgroup.Limits{{Memory: 64 << 20}, {PIDs: 5}} {
		inner := s.plan(cgroup.Options{Name: "vm", Parent: busy.Path, Limits: l})
		err := inner.Create()
		if e, ok := errors.AsType[*errcode.Error](err); !ok || e.Code != errcode.CgroupUnavailable || !strings.Contains(e.Hint, "parent") {
			t.Errorf("%+v: got %v, want CGROUP_UNAVAILABLE with advice", l, err)
		}
		s.release(inner)
	}
	if ended(p) || !s.exists(busy.Path) {
		t.Error("the parent was touched")
	}
}

func TestProcessStartsInItsGroup(t *testing.T) {
	s := newScene(t)
	g := s.group("vm", cgroup.Limits{})
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p, err := s.try(g, "exec cat /proc/self/cgroup", out)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.wait(p); got != (proc.Status{Known: true}) {
		t.Fatalf("cat ended with %s", got)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil || !strings.Contains("\n"+string(text), "\n0::/") || !strings.Contains(string(text), "/"+g.Path+"\n") {
		t.Errorf("it is in %q, %v", text, err)
	}
}
