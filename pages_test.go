package smartvm_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/pager"
)

// lazySite has a manager that knows a page server.
func lazySite(t *testing.T) *site {
	t.Helper()
	if err := pager.Available(false); err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	must(t, err)
	return bootSiteWith(t, smartvm.Options{PageServer: []string{self, pagesProgram}})
}

// server is the process that serves a VM's memory.
func (s *site) server(vm *smartvm.VM) int {
	s.t.Helper()
	entry, err := s.Inspect(patient(s.t), vm.ID())
	must(s.t, err)
	for _, r := range entry.Resources {
		var pid int
		if _, err := fmt.Sscanf(r, "page server process %d", &pid); err == nil {
			return pid
		}
	}
	s.t.Fatalf("no page server among %q", entry.Resources)
	return 0
}

func TestLazilyRestoredGuestEndsWithItsPageServer(t *testing.T) {
	s := lazySite(t)
	origin := s.boot(hello.CountEach(5 * time.Millisecond))
	counts(t, origin, 0)
	_, err := origin.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{KeepPaused: true})
	must(t, err)
	n := lastCount(t, settled(t, origin))
	for range 2 { // the second one knows what the first has touched
		vm, err := s.Restore(patient(t), "warm", smartvm.RestoreOptions{Lazy: true})
		must(t, err)
		counts(t, vm, n)
		must(t, unix.Kill(s.server(vm), unix.SIGKILL))
		if end := ended(t, vm); end.Status.Signal != int(unix.SIGKILL) || vm.State() != smartvm.Failed {
			t.Errorf("it ended %+v, and is %s", end, vm.State())
		}
		must(t, vm.Cleanup(patient(t)))
	}
	vm, err := s.Restore(patient(t), "warm", smartvm.RestoreOptions{Lazy: true})
	must(t, err)
	counts(t, vm, n)
	must(t, vm.Cleanup(patient(t)))
}

func TestLazyRestoreWithoutAPageServerMapsTheFile(t *testing.T) {
	s := bootSite(t)
	origin := s.boot(hello.CountEach(5 * time.Millisecond))
	_, err := origin.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
	must(t, err)
	vm, err := s.Restore(patient(t), "warm", smartvm.RestoreOptions{Lazy: true})
	must(t, err)
	counts(t, vm, 1)
}
