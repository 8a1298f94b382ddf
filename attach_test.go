package smartvm_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
)

// owner is another process that starts a VM and owns it while it lives.
type owner struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout io.Reader
	gone   bool
}

func (s *site) owner(id string) *owner {
	s.t.Helper()
	self, err := os.Executable()
	must(s.t, err)
	o := &owner{cmd: exec.Command(self, ownerProgram, s.runtime, s.data, s.opts.FirecrackerPath, s.kernel, id)}
	o.cmd.Stderr = os.Stderr
	o.stdin, err = o.cmd.StdinPipe()
	must(s.t, err)
	o.stdout, err = o.cmd.StdoutPipe()
	must(s.t, err)
	must(s.t, o.cmd.Start())
	s.t.Cleanup(o.leave)
	return o
}

// said waits for "ready" or the code of an error.
func (o *owner) said() string {
	line, _ := bufio.NewReader(o.stdout).ReadString('\n')
	return strings.TrimSpace(line)
}

// leave ends the process, and the VM stays.
func (o *owner) leave() {
	if !o.gone {
		o.gone = true
		_ = o.stdin.Close()
		_ = o.cmd.Wait()
	}
}

func TestVMOfAnotherProcessCanBeUsedAndAdoptedAfterItsEnd(t *testing.T) {
	s := bootSite(t)
	o := s.owner("theirs")
	if said := o.said(); said != "ready" {
		t.Fatal(said)
	}
	_, err := s.Adopt(patient(t), "theirs")
	if e := wantCode(t, err, smartvm.VMOwned); e.Hint == "" || !strings.Contains(err.Error(), ownerProgram) {
		t.Errorf("got %v, want who owns it and a hint", err)
	}
	vm, err := s.Attach(patient(t), "theirs")
	must(t, err)
	wantState(t, vm, smartvm.Running)
	follow(t, vm, smartvm.ConsoleOptions{}).find(hello.Greeting)
	must(t, vm.Pause(patient(t)))
	wantCode(t, vm.Cleanup(patient(t)), smartvm.VMOwned)
	wantState(t, vm, smartvm.Paused)
	if _, err := s.Attach(patient(t), "theirs"); codeOf(err) != smartvm.VMExists {
		t.Errorf("attach again = %v, want VM_EXISTS", err)
	}
	o.leave()
	s.RemoveVM("theirs")
	adopted, err := s.Adopt(patient(t), "theirs")
	must(t, err)
	wantState(t, adopted, smartvm.Paused)
	must(t, adopted.Resume(patient(t)))
	must(t, adopted.Stop(patient(t), smartvm.StopOptions{}))
	wantState(t, adopted, smartvm.Stopped)
	// The other one sees the end too, and its status if pid 1 has taken notice of it.
	if end := ended(t, vm); end.Status.Known {
		wantState(t, vm, smartvm.Stopped)
	}
	must(t, adopted.Cleanup(patient(t)))
	_, err = s.Attach(patient(t), "theirs")
	if wantCode(t, err, smartvm.VMNotFound); hintOf(err) == "" {
		t.Errorf("no hint in %v", err)
	}
}

func TestManagerThatClosesLeavesItsVMsToTheNext(t *testing.T) {
	s := bootSite(t)
	first, err := smartvm.New(s.opts)
	must(t, err)
	vm, err := first.CreateVM("heir", s.config(hello.CountEach(5*time.Millisecond)))
	must(t, err)
	must(t, vm.Start(patient(t)))
	follow(t, vm, smartvm.ConsoleOptions{}).find(hello.CountPrefix + "3\r\n")
	must(t, first.Close())
	next, err := s.Adopt(patient(t), "heir")
	must(t, err)
	screen := follow(t, next, smartvm.ConsoleOptions{})
	screen.find(hello.CountPrefix + "3\r\n")
	screen.find(hello.CountPrefix + "9\r\n")
	must(t, next.Pause(patient(t)))
	wantState(t, next, smartvm.Paused)
	must(t, next.Cleanup(patient(t)))
}

func TestDetachedVMCanStillBeUsed(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Stay)
	for range 2 { // the second one has nothing to do
		must(t, vm.Detach(patient(t), nil))
	}
	must(t, vm.Pause(patient(t)))
	wantState(t, vm, smartvm.Paused)
	entry, err := s.Inspect(patient(t), vm.ID())
	must(t, err)
	if entry.Owner != "" || entry.State != smartvm.Paused {
		t.Errorf("entry %+v, want a paused VM without owner", entry)
	}
	must(t, vm.Cleanup(patient(t)))
	if exists(vm.Dir()) {
		t.Error("the directory is left")
	}
}

func TestKeeperKeepsTheConsoleAndTheEndOfADetachedVM(t *testing.T) {
	s := bootSite(t)
	self, err := os.Executable()
	must(t, err)
	vm := s.boot(hello.Echo)
	follow(t, vm, smartvm.ConsoleOptions{}).find("boot args")
	must(t, vm.Detach(patient(t), []string{self, keeperProgram, s.runtime, s.data, vm.ID()}))
	must(t, vm.WriteConsole(patient(t), []byte("while detached\n")))
	screen := follow(t, vm, smartvm.ConsoleOptions{})
	screen.find("while detached\r\n")
	must(t, vm.WriteConsole(patient(t), []byte("exit\n")))
	if got := screen.rest(); got != hello.Goodbye+"\r\n" {
		t.Errorf("the last words are %q", got)
	}
	ended(t, vm)
	until(t, "the keeper to record the end", func() bool { return exists(vm.Dir() + "/ended.json") })
	entry, err := s.Inspect(patient(t), vm.ID())
	if err != nil || entry.State != smartvm.Stopped || entry.Ended == nil || !entry.Ended.Status.Success() {
		t.Errorf("entry %+v, ended %+v, %v", entry, entry.Ended, err)
	}
}

func TestDetachWithAKeeperThatCannotStartChangesNothing(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Echo)
	follow(t, vm, smartvm.ConsoleOptions{}).find("boot args")
	wantCode(t, vm.Detach(patient(t), []string{"/no/such/program"}), "CONSOLE_FAILED")
	entry, err := s.Inspect(patient(t), vm.ID())
	if err != nil || entry.Owner == "" {
		t.Errorf("entry %+v, %v, want that it is still owned", entry, err)
	}
	must(t, vm.WriteConsole(patient(t), []byte("still kept\n")))
	follow(t, vm, smartvm.ConsoleOptions{}).find("still kept\r\n")
}

func TestAttachToWhatHasEnded(t *testing.T) {
	s := bootSite(t)
	first, err := smartvm.New(s.opts)
	must(t, err)
	vm, err := first.CreateVM("late", s.config(hello.Stay))
	must(t, err)
	must(t, vm.Start(patient(t)))
	follow(t, vm, smartvm.ConsoleOptions{}).find(hello.Greeting)
	must(t, unix.Kill(s.pid(vm), unix.SIGKILL))
	ended(t, vm)
	must(t, first.Close())
	late, err := s.Adopt(patient(t), "late")
	must(t, err)
	wantState(t, late, smartvm.Failed)
	if end := ended(t, late); end.Status.Signal != int(unix.SIGKILL) {
		t.Errorf("ended %+v", end)
	}
	if !strings.Contains(output(t, late), hello.Greeting) {
		t.Error("its console is gone")
	}
}

func TestAttachDemandsAnIDThatExists(t *testing.T) {
	s := newSite(t, smartvm.Options{})
	for id, want := range map[string]smartvm.Code{"nobody": smartvm.VMNotFound, "../etc": smartvm.InvalidConfig, "": smartvm.InvalidConfig} {
		_, attach := s.Attach(patient(t), id)
		_, inspect := s.Inspect(patient(t), id)
		for _, err := range []error{attach, inspect} {
			if !errors.Is(err, want) {
				t.Errorf("id %q: %v, want %s", id, err, want)
			}
		}
	}
}

func TestClosedManagerReleasesWaitersOfFoundVMs(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Stay)
	other, err := smartvm.New(s.opts)
	must(t, err)
	found, err := other.Attach(patient(t), vm.ID())
	must(t, err)
	done := make(chan error)
	go func() {
		_, err := found.Wait(patient(t))
		done <- err
	}()
	must(t, other.Close())
	wantCode(t, <-done, smartvm.NoClient)
	wantState(t, vm, smartvm.Running)
}

// A guest that ends while it is handed over must lose neither its last words nor
// its exit status.
func TestDetachMissesNothingOfAGuestThatEnds(t *testing.T) {
	s := bootSite(t)
	self, err := os.Executable()
	must(t, err)
	for range 10 {
		vm := s.boot(hello.Exit)
		err := vm.Detach(patient(t), []string{self, keeperProgram, s.runtime, s.data, vm.ID()})
		if err != nil && !errors.Is(err, smartvm.InvalidState) { // it was faster than we are
			t.Fatal(err)
		}
		if out := follow(t, vm, smartvm.ConsoleOptions{}).rest(); !strings.HasSuffix(out, hello.Goodbye+"\r\n") {
			t.Errorf("the last words are %q", out)
		}
		var entry smartvm.Entry
		until(t, "the end to be recorded", func() bool {
			entry, err = s.Inspect(patient(t), vm.ID())
			return err != nil || entry.Ended != nil && entry.Ended.Status.Known
		})
		// A Firecracker that is asked something while its guest ends gets stuck,
		// and is killed for it.
		if err != nil || entry.State != smartvm.Stopped || !entry.Ended.Status.Success() && !entry.Ended.Asked {
			t.Errorf("entry %+v, ended %+v, %v", entry, entry.Ended, err)
		}
		must(t, vm.Cleanup(patient(t)))
	}
}

// found is a VM as another process sees it.
func (s *site) found(vm *smartvm.VM) *smartvm.VM {
	s.t.Helper()
	m, err := smartvm.New(s.opts)
	must(s.t, err)
	s.t.Cleanup(func() {
		if err := m.Close(); err != nil {
			s.t.Error(err)
		}
	})
	found, err := m.Attach(patient(s.t), vm.ID())
	must(s.t, err)
	return found
}

func TestStopByAnotherProcessIsNoFailure(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Stay)
	found := s.found(vm)
	must(t, found.Stop(patient(t), smartvm.StopOptions{Grace: never})) // SIGTERM
	for _, v := range []*smartvm.VM{vm, found} {
		if end := ended(t, v); !end.Asked {
			t.Errorf("ended %+v, want that it was asked to", end)
		}
		wantState(t, v, smartvm.Stopped)
	}
	entry, err := s.Inspect(patient(t), vm.ID())
	if err != nil || entry.State != smartvm.Stopped {
		t.Errorf("entry %+v, %v", entry, err)
	}
}

func TestFoundVMTakesAsMuchMetadataAsItsOwnersDoes(t *testing.T) {
	s := bootSite(t)
	config := s.config(hello.Stay)
	config.Metadata = firecracker.Metadata{"a": strings.Repeat("x", 60<<10)}
	vm := s.bootConfig(config)
	if s.needsMMDS(vm) {
		return
	}
	found := s.found(vm)
	for _, v := range []*smartvm.VM{vm, found} {
		must(t, v.SetMetadata(patient(t), firecracker.Metadata{"b": strings.Repeat("y", 100<<10)}))
	}
	if got, err := found.GetMetadata(patient(t)); err != nil || len(got) != 1 {
		t.Errorf("got %d keys, %v", len(got), err)
	}
}

func TestManagerThatClosesDuringAStartLeavesAWholeVM(t *testing.T) {
	gate := filepath.Join(shortDir(t), "gate")
	s := fakeSite(t, fake{Gate: gate})
	first, err := smartvm.New(s.opts)
	must(t, err)
	vm, err := first.CreateVM("heir", s.config())
	must(t, err)
	started, closed := make(chan error), make(chan error)
	go func() { started <- vm.Start(patient(t)) }()
	until(t, "the process", func() bool {
		entry, err := s.Inspect(t.Context(), vm.ID())
		return err == nil && entry.PID != 0
	})
	go func() { closed <- first.Close() }()
	write(t, gate, nil)
	must(t, <-started)
	must(t, <-closed)
	next, err := s.Adopt(patient(t), "heir")
	must(t, err)
	wantState(t, next, smartvm.Running)
}
