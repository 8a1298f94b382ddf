package smartvm_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/hello"
)

// TestRequestToAGuestThatEndsIsNotWaitedForForever asks Firecracker until its guest has
// ended, now and then in the moment in which that makes it stand still.
func TestRequestToAGuestThatEndsIsNotWaitedForForever(t *testing.T) {
	s := bootSite(t)
	const tries = 400 // it takes v1.16 some
	for range tries {
		vm := s.boot(hello.Exit)
		for {
			if _, err := vm.Info(patient(t)); err != nil {
				break
			}
		}
		end := ended(t, vm)
		wantState(t, vm, smartvm.Stopped)
		must(t, vm.Cleanup(patient(t)))
		if end.Asked && end.Status.Signal == int(unix.SIGKILL) {
			return
		}
		if !end.Status.Success() {
			t.Fatalf("ended %+v", end)
		}
	}
	t.Errorf("in %d tries no Firecracker stood still", tries)
}
