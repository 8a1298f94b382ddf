package smartvm_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/vmconfig"
)

// wantUndone demands what every failed start owes: its code, a remedy, state
// error, and no directory.
func wantUndone(t *testing.T, vm *smartvm.VM, err error, want smartvm.Code) *smartvm.Error {
	t.Helper()
	e := wantCode(t, err, want)
	if e.Subject != vm.ID() {
		t.Errorf("the subject is %q, want the VM's id", e.Subject)
	}
	if hintOf(err) == "" {
		t.Errorf("no hint in %v", err)
	}
	wantState(t, vm, smartvm.Failed)
	if _, err := os.Lstat(vm.Dir()); err == nil {
		t.Error("the directory is left")
	}
	return e
}

// withDrive is a config with a drive that is used in place.
func (s *site) withDrive() vmconfig.Config {
	config := s.config()
	config.Drives = []vmconfig.Drive{{
		Drive:     firecracker.Drive{DriveID: "data", PathOnHost: s.image("disk", "x", 1<<20)},
		Ephemeral: new(false),
	}}
	return config
}

func TestStartUndoesItselfWhenFirecrackerFails(t *testing.T) {
	const logged = "thread 'main' panicked"
	tests := []struct {
		name  string
		fake  fake
		code  smartvm.Code
		texts []string // in the error
	}{
		{"it ends at once", fake{Dies: true, Code: 1, Log: logged + "\n"}, smartvm.ProcessExited, []string{"exit code 1", logged}},
		{"it ends at once without complaint", fake{Dies: true, Log: logged}, smartvm.ProcessExited, []string{"exit code 0", logged}},
		{"it ends at once and says why", fake{Dies: true, Code: 3, Stderr: "bad argument\n"}, smartvm.ProcessExited, []string{"exit code 3", "bad argument"}},
		{"it refuses a request", fake{Log: logged, Refuse: map[string]string{"PUT /drives/data": "no such drive"}}, smartvm.APIError, []string{"PUT /drives/data", "no such drive"}},
		{"it refuses the boot", fake{Log: logged, Refuse: map[string]string{"PUT /actions": "no kernel"}}, smartvm.ProcessExited, []string{"exit code 1", "no kernel"}},
		{"it dies between requests", fake{Log: logged, EndsAt: "PUT /drives/data", Hang: []string{"PUT /drives/data"}, Code: 2}, smartvm.ProcessExited, []string{"exit code 2", logged}},
		{"it dies at the boot", fake{Log: logged, EndsAt: "PUT /actions", Hang: []string{"PUT /actions"}, Code: 2}, smartvm.ProcessExited, []string{"exit code 2", logged}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fakeSite(t, tt.fake)
			vm := s.create("", s.withDrive())
			err := vm.Start(patient(t))
			e := wantCode(t, err, tt.code)
			wantState(t, vm, smartvm.Failed)
			for _, text := range tt.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q is not in: %v", text, err)
				}
			}
			if tt.code == smartvm.APIError && e.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d, want 400", e.StatusCode)
			}
			if tt.fake.Log != "" && (len(e.Details) == 0 || !strings.Contains(e.Details[0].Message, logged)) {
				t.Errorf("details %v, want the log", e.Details)
			}
			if exists(vm.Dir()) {
				t.Error("the directory is left")
			}
		})
	}
}

func TestStartThatHangsEndsWithItsContext(t *testing.T) {
	for _, call := range []string{"PUT /drives/data", "PUT /actions"} {
		t.Run(filepath.Base(call), func(t *testing.T) {
			s := fakeSite(t, fake{Hang: []string{call}})
			vm := s.create("", s.withDrive())
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			reason := errors.New("changed my mind")
			done := make(chan error)
			go func() { done <- vm.Start(ctx) }()
			until(t, "the process", func() bool {
				entry, err := s.Inspect(t.Context(), vm.ID())
				return err == nil && entry.PID != 0
			})
			cancel(reason)
			if err := <-done; !errors.Is(err, reason) {
				t.Errorf("start = %v, want the context's cause in it", err)
			}
			wantState(t, vm, smartvm.Failed)
			if exists(vm.Dir()) {
				t.Error("the directory is left")
			}
		})
	}
}

func TestSocketThatNeverOpensIsATimeout(t *testing.T) {
	hosttest.Need(t, hosttest.KVM)
	s := newSite(t, smartvm.Options{FirecrackerPath: fake{Mute: true, Log: "thinking"}.install(t), StartTimeout: 2 * time.Second})
	vm := s.create("", s.config())
	err := vm.Start(patient(t))
	e := wantUndone(t, vm, err, smartvm.SocketTimeout)
	if !strings.Contains(err.Error(), vm.SocketPath()) || len(e.Details) == 0 || e.Details[0].Message != "thinking" {
		t.Errorf("got %v, details %v; want the socket and the log", err, e.Details)
	}
}

func TestGuestThatNeverRunsIsATimeout(t *testing.T) {
	hosttest.Need(t, hosttest.KVM)
	s := newSite(t, smartvm.Options{
		FirecrackerPath: fake{Hang: []string{"PUT /actions"}, Log: "building"}.install(t), StartTimeout: 2 * time.Second,
	})
	vm := s.create("", s.config())
	e := wantUndone(t, vm, vm.Start(patient(t)), smartvm.APITimeout)
	if len(e.Details) == 0 || e.Details[0].Message != "building" {
		t.Errorf("details %v, want the log", e.Details)
	}
}

func TestGuestThatEndsBeforeItIsSeenHasRun(t *testing.T) {
	s := fakeSite(t, fake{Brief: true})
	vm := s.create("", s.config())
	must(t, vm.Start(patient(t)))
	wantState(t, vm, smartvm.Stopped)
	if end := ended(t, vm); end.Asked || !end.Status.Success() {
		t.Errorf("ended %+v, want exit code 0 of its own", end)
	}
}

func TestSocketThatOpensLateIsAwaited(t *testing.T) {
	gate := filepath.Join(shortDir(t), "gate")
	s := fakeSite(t, fake{Gate: gate})
	vm := s.create("", s.config())
	done := make(chan error)
	go func() { done <- vm.Start(patient(t)) }()
	until(t, "the process", func() bool {
		entry, err := s.Inspect(t.Context(), vm.ID())
		return err == nil && entry.PID != 0
	})
	wantState(t, vm, smartvm.Configuring)
	write(t, gate, nil)
	must(t, <-done)
	wantState(t, vm, smartvm.Running)
}

func TestDeathAfterTheStartIsNoticedWithItsWords(t *testing.T) {
	s := fakeSite(t, fake{EndsAt: "PUT /mmds", Code: 7, Log: "out of memory\n"})
	vm := s.create("", s.config())
	must(t, vm.Start(patient(t)))
	// Whether the answer still came does not matter.
	if err := vm.SetMetadata(patient(t), firecracker.Metadata{"a": "b"}); err != nil {
		wantCode(t, err, smartvm.ProcessExited)
	}
	if end := ended(t, vm); end.Status.Code != 7 || len(end.Log) == 0 || end.Log[0] != "out of memory" {
		t.Errorf("ended %+v", end)
	}
	wantState(t, vm, smartvm.Failed)
}

func TestVersionThatLacksWhatTheConfigNeedsIsRefusedBeforeAnythingIsMade(t *testing.T) {
	s := fakeSite(t, fake{Version: "v1.12.1"})
	config := s.config()
	config.Serial = &firecracker.Serial{SerialOutPath: filepath.Join(s.files, "out")}
	config.MemoryHotplug = &firecracker.MemoryHotplugConfig{TotalSizeMiB: 1024}
	vm := s.create("", config)
	err := vm.Start(patient(t))
	wantCode(t, err, "UNSUPPORTED_VERSION")
	if exists(filepath.Join(s.files, "out")) {
		t.Error("a file was made")
	}
}

func TestBinaryThatDoesNotAnswerKeepsNobodyWaitingLongerThanItsContext(t *testing.T) {
	s := fakeSite(t, fake{Stuck: true})
	first, cancelFirst := context.WithCancel(t.Context())
	defer cancelFirst()
	done := make(chan error)
	go func() {
		_, err := s.EnsureBinary(first)
		done <- err
	}()
	until(t, "the program", func() bool { return len(running(t, s.opts.FirecrackerPath)) > 0 })
	second, cancelSecond := context.WithCancel(t.Context())
	cancelSecond()
	ensured := make(chan error, 1)
	go func() {
		_, err := s.EnsureBinary(second)
		ensured <- err
	}()
	select {
	case err := <-ensured:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the second caller waits for the first one's program")
	}
	cancelFirst()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

// running lists the processes of a program.
func running(t *testing.T, program string) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/exe")
	must(t, err)
	for _, link := range all {
		if target, err := os.Readlink(link); err == nil && target == program {
			found = append(found, link)
		}
	}
	return found
}
