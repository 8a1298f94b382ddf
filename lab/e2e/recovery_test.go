package e2e_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/vmconfig"
)

func TestGuestOutlivesItsKilledControllerAndIsAdopted(t *testing.T) {
	claims(t, "S4.11", "A guest goes on when the process that has started it is killed with SIGKILL, and gc leaves it alone")
	claims(t, "S4.3", "Another manager adopts the VM of a dead process: it talks to the guest, pauses, resumes, stops and cleans up")
	s := newSite(t, smartvm.Options{})
	run := s.command("run", "-f", vmFile(t, s.config(baseimage.Squashfs)), "--name", "orphan")
	run.start()
	must(t, run.stdout.await(patient(t), "@ready squashfs"))
	watcher, err := s.manager.Attach(patient(t), "orphan")
	must(t, err)
	g, err := guest.Attach(patient(t), watcher)
	must(t, err)
	pid := output(t, g, "sleep 1000000 >/dev/null 2>&1 & echo $!")
	must(t, g.Close())
	heir := s.heir()
	_, err = heir.Adopt(patient(t), "orphan")
	if !errors.Is(err, smartvm.VMOwned) {
		t.Errorf("the VM of a process that lives is adopted: %v", err)
	}

	must(t, run.Process.Kill())
	_ = run.Wait() // it tells of the kill
	garbage, err := heir.GC(patient(t), smartvm.GCOptions{})
	if err != nil || len(garbage) > 0 {
		t.Errorf("gc removes %+v, %v", garbage, err)
	}
	vm, err := heir.Adopt(patient(t), "orphan")
	must(t, err)
	g, err = guest.Attach(patient(t), vm)
	must(t, err)
	defer g.Close()
	if got := output(t, g, "cat /proc/"+pid+"/comm"); got != "sleep" || vm.State() != smartvm.Running {
		t.Errorf("of what ran before there is %q; the VM is %s", got, vm.State())
	}
	must(t, vm.Pause(patient(t)))
	refused(t, vm, smartvm.Paused, vm.Pause)
	must(t, vm.Resume(patient(t)))
	if got := output(t, g, "echo again"); got != "again" {
		t.Errorf("resumed, the guest says %q", got)
	}
	must(t, vm.Stop(patient(t), smartvm.StopOptions{Grace: patience}))
	if end := vm.Ended(); !end.Asked || end.Status.Signal != 0 || vm.State() != smartvm.Stopped {
		t.Errorf("ended %+v, and is %s", end, vm.State())
	}
	must(t, vm.Cleanup(patient(t)))
}

// heir is a manager of the same directories, as the next process has it.
func (s *site) heir() *smartvm.Manager {
	s.t.Helper()
	m, err := smartvm.New(smartvm.Options{
		RuntimeDir: s.manager.RuntimeDir(), DataDir: s.manager.DataDir(), FirecrackerPath: hosttest.Firecracker(s.t), StartTimeout: patience,
	})
	must(s.t, err)
	s.t.Cleanup(func() {
		ctx := context.WithoutCancel(s.t.Context())
		must(s.t, errors.Join(m.Cleanup(ctx), m.Close()))
	})
	return m
}

func TestStartThatWasCutShortIsGarbage(t *testing.T) {
	claims(t, "S4.2", "What is left of a process that is killed in the middle of a start is removed by gc, a Firecracker that lives included")
	s := newSite(t, smartvm.Options{})
	config := s.config(baseimage.Squashfs)
	config.Drives = append(config.Drives, vmconfig.Drive{Drive: firecracker.Drive{DriveID: "disk", PathOnHost: disk(t, "", 1)}})
	run := s.command("run", "-f", vmFile(t, config), "--name", "half")
	run.start()
	// Firecracker needs its time to read the kernel, and more of it than we do.
	pid := s.firecracker("half")
	must(t, run.Process.Kill())
	_ = run.Wait() // it tells of the kill
	if name := comm(pid); name != "firecracker" {
		t.Fatalf("there is %q, and nothing to remove", name)
	}

	garbage, err := s.manager.GC(patient(t), smartvm.GCOptions{})
	must(t, err)
	if len(garbage) != 1 || garbage[0].ID != "half" || garbage[0].Reason != "its start was cut short" {
		t.Errorf("gc removes %+v", garbage)
	}
	if name := comm(pid); name != "" {
		t.Errorf("%s is still there", name)
	}
	left, err := os.ReadDir(s.manager.RuntimeDir())
	must(t, err)
	for _, entry := range left {
		t.Errorf("%s is still there", entry.Name())
	}
}

// firecracker waits for the Firecracker of a VM, and returns its pid.
func (s *site) firecracker(id string) (pid string) {
	s.t.Helper()
	ctx, again := patient(s.t), time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		must(s.t, err)
		for _, path := range lines {
			pid := filepath.Base(filepath.Dir(path))
			line, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(line), "--id\x00"+id+"\x00") && comm(pid) == "firecracker" { // and not its jailer
				return pid
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			s.t.Fatal("there is no Firecracker of ", id)
		}
	}
}

// comm is the name of a process, "" of one that is gone.
func comm(pid string) string {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return ""
	}
	return strings.TrimSpace(string(text))
}
