package pager_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/pager"
	"github.com/smartvm/smartvm/internal/proc"
)

func TestRootCanHaveMemoryServed(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	for _, hugePages := range []bool{false, true} {
		if err := pager.Available(hugePages); err != nil {
			t.Error(err)
		}
	}
}

func TestUserWithoutAccessIsToldSo(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	err := proc.OnThread(func() error {
		// Of this thread alone, which ends with the function.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			t.Error(errno)
		}
		return pager.Available(false)
	})
	var e *errcode.Error
	if !errors.As(err, &e) || e.Code != errcode.HostUnsupported || e.Hint == "" || !errors.Is(err, unix.EACCES) {
		t.Errorf("it is told %v", err)
	}
}
