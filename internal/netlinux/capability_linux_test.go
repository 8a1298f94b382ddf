package netlinux_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/nettest"
)

func TestOnlyWhoHasTheCapabilityIsPermitted(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		if permitted, err := netlinux.Permitted(); err != nil || !permitted {
			t.Errorf("root: %t, %v", permitted, err)
		}
		err := nettest.Host(t).Do(func() error { // on a thread that is thrown away
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
				return os.NewSyscallError("setresuid", errno)
			}
			if permitted, err := netlinux.Permitted(); err != nil || permitted {
				t.Errorf("nobody: %t, %v", permitted, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
