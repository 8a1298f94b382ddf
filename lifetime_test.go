package smartvm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
)

func TestConsoleHasTheGuestsOutputAndNothingElse(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Exit)
	got := follow(t, vm, smartvm.ConsoleOptions{}).rest()
	want := hello.Greeting + "\r\nmemory: 16 MiB\r\nvcpus: 1\r\nboot args: "
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, hello.Goodbye+"\r\n") {
		t.Errorf("the console has %q", got)
	}
	if n := strings.Count(got, "\n"); n != 5 {
		t.Errorf("the console has %d lines, want 5: %q", n, got)
	}
}

func TestGuestThatResetsIsStopped(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Exit)
	end := ended(t, vm)
	if end.Asked || !end.Status.Success() {
		t.Errorf("ended %+v, want exit code 0 of its own", end)
	}
	wantState(t, vm, smartvm.Stopped)
}

func TestTripleFaultIsNoticed(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Crash)
	end := ended(t, vm)
	// Up to v1.14 Firecracker does not tell it from a reset.
	if want := map[bool]smartvm.State{true: smartvm.Stopped, false: smartvm.Failed}[end.Status.Success()]; vm.State() != want {
		t.Errorf("ended with %s in state %s, want %s", end.Status, vm.State(), want)
	}
	if got := output(t, vm); !strings.HasSuffix(got, "crash\r\n") {
		t.Errorf("the console has %q, want its last words", got)
	}
}

func TestPauseStopsTheCounterAndResumeContinuesIt(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.CountEach(5 * time.Millisecond))
	follow(t, vm, smartvm.ConsoleOptions{}).find(hello.CountPrefix + "3\r\n")
	must(t, vm.Pause(patient(t)))
	before := settled(t, vm)
	timer := time.NewTimer(200 * time.Millisecond) // forty counts
	<-timer.C
	if now := output(t, vm); now != before {
		t.Errorf("a paused guest printed %q", strings.TrimPrefix(now, before))
	}
	n := lastCount(t, before)
	from := follow(t, vm, smartvm.ConsoleOptions{SkipPast: true})
	must(t, vm.Resume(patient(t)))
	// The guest may have been paused in the middle of the next line.
	begun := before[strings.LastIndex(before, "\n")+1:]
	want := strings.TrimPrefix(fmt.Sprintf("%s%d\r\n", hello.CountPrefix, n+1), begun)
	if skipped := from.find(want); skipped != "" {
		t.Errorf("after count %d and %q came %q", n, begun, skipped)
	}
}

// settled returns a console once it has not grown for a while.
func settled(t *testing.T, vm *smartvm.VM) string {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	text, same := output(t, vm), 0
	for same < 3 {
		<-tick.C
		now := output(t, vm)
		if same++; now != text {
			text, same = now, 0
		}
	}
	return text
}

// lastCount returns the number of the last whole counter line.
func lastCount(t *testing.T, console string) (n int) {
	t.Helper()
	for line := range strings.Lines(console) {
		if strings.HasSuffix(line, "\n") && strings.HasPrefix(line, hello.CountPrefix) {
			if _, err := fmt.Sscanf(line, hello.CountPrefix+"%d", &n); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n == 0 {
		t.Fatalf("no count in %q", console)
	}
	return n
}

func TestKilledFirecrackerReleasesWaitersAndKeepsWhatItSaid(t *testing.T) {
	for _, state := range []smartvm.State{smartvm.Running, smartvm.Paused} {
		t.Run(string(state), func(t *testing.T) {
			s := bootSite(t)
			config := s.config(hello.Stay)
			config.Logger = &firecracker.Logger{Level: "Debug"}
			vm := s.bootConfig(config)
			follow(t, vm, smartvm.ConsoleOptions{}).find("boot args")
			if state == smartvm.Paused {
				must(t, vm.Pause(patient(t)))
			}
			results := make(chan error, 10)
			for range cap(results) {
				go func() {
					_, err := vm.Wait(patient(t))
					results <- err
				}()
			}
			screen := follow(t, vm, smartvm.ConsoleOptions{})
			pid := s.pid(vm)
			must(t, unix.Kill(pid, unix.SIGKILL))
			for range cap(results) {
				must(t, <-results)
			}
			screen.rest() // must end
			wantState(t, vm, smartvm.Failed)
			end := vm.Ended()
			if end.Status.String() != "signal 9 (SIGKILL)" || end.Asked || len(end.Log) == 0 {
				t.Errorf("ended %+v, want the signal and the last lines of the log", end)
			}
			if exists(fmt.Sprintf("/proc/%d", pid)) {
				t.Errorf("process %d is still there, as a zombie", pid)
			}
			if exists(vm.Dir()) != true {
				t.Error("the directory is gone before the clean-up")
			}
			must(t, vm.Cleanup(patient(t)))
			wantState(t, vm, smartvm.Failed)
			if exists(vm.Dir()) {
				t.Error("the directory is there after the clean-up")
			}
		})
	}
}

func TestDirectoryAppearsWithStartAndGoesWithCleanup(t *testing.T) {
	s := bootSite(t)
	vm := s.create("", s.config(hello.Stay))
	if exists(vm.Dir()) {
		t.Error("there is a directory before the start")
	}
	must(t, vm.Start(patient(t)))
	if info, err := os.Stat(vm.SocketPath()); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Errorf("no socket at %s: %v", vm.SocketPath(), err)
	}
	if info, err := os.Stat(vm.Dir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, %v", info.Mode(), err)
	}
	for range 2 {
		must(t, vm.Cleanup(patient(t)))
		wantState(t, vm, smartvm.Stopped)
	}
	if exists(vm.Dir()) {
		t.Error("there is a directory after the clean-up")
	}
	if err := vm.Start(patient(t)); codeOf(err) != smartvm.InvalidState {
		t.Errorf("start after the clean-up = %v, want INVALID_STATE", err)
	}
}

func TestFilesThatTheUserNamedStayAfterTheVM(t *testing.T) {
	s := bootSite(t)
	config := s.config(hello.Stay)
	config.Logger = &firecracker.Logger{LogPath: filepath.Join(s.files, "log"), Level: "Info"}
	config.Metrics = &firecracker.Metrics{MetricsPath: filepath.Join(s.files, "metrics")}
	vm := s.bootConfig(config)
	_, err := vm.Info(patient(t)) // before it answers, Firecracker writes its first metrics
	must(t, err)
	must(t, vm.Cleanup(patient(t)))
	for _, path := range []string{config.Logger.LogPath, config.Metrics.MetricsPath} {
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s is gone or empty: %v", path, err)
		}
	}
	if end := vm.Ended(); end == nil || len(end.Log) == 0 {
		t.Error("the log's last lines were not kept")
	}
}

func TestCleanupWaitsForItsTurnUnderItsContext(t *testing.T) {
	gate := filepath.Join(shortDir(t), "gate")
	s := fakeSite(t, fake{Gate: gate})
	vm := s.create("", s.config())
	started := make(chan error)
	go func() { started <- vm.Start(patient(t)) }()
	until(t, "the process", func() bool {
		entry, err := s.Inspect(t.Context(), vm.ID())
		return err == nil && entry.PID != 0
	})
	ctx, cancel := context.WithTimeout(t.Context(), brief)
	defer cancel()
	if err := vm.Cleanup(ctx); !errors.Is(err, context.DeadlineExceeded) || codeOf(err) == "" {
		t.Errorf("clean up = %v, want the context's error", err)
	}
	write(t, gate, nil)
	must(t, <-started)
}
