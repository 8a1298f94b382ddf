package hostnet_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/nettest"
)

// nobody is a user without capabilities.
const nobody = 65534

// unprivileged runs do as nobody if the test is root.
func unprivileged(t *testing.T, do func(t *testing.T, dir string)) {
	t.Helper()
	if os.Getuid() != 0 {
		do(t, t.TempDir())
		return
	}
	nettest.Isolated(t, func(t *testing.T) { // a process that has changed a user is not what it was
		dir := filepath.Join(t.TempDir(), "run")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
		for up := filepath.Dir(dir); up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
			if err := os.Chmod(up, 0o711); err != nil {
				t.Fatal(err)
			}
		}
		err := nettest.Host(t).Do(func() error { // on a thread that is thrown away
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				return errno
			}
			do(t, dir)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestDirectoryWithoutNetworksNeedsNoRoot(t *testing.T) {
	t.Parallel()
	unprivileged(t, func(t *testing.T, dir string) {
		t.Helper()
		look := func(when string) {
			n, err := hostnet.New(hostnet.Options{Dir: dir})
			if err != nil {
				t.Errorf("%s: new: %v", when, err)
				return
			}
			if list, err := hostnet.List(t.Context(), dir); err != nil || len(list) > 0 {
				t.Errorf("%s: list: %+v, %v", when, list, err)
			}
			for _, dry := range []bool{true, false} {
				if garbage, err := hostnet.GC(t.Context(), dir, dry); err != nil || len(garbage) > 0 {
					t.Errorf("%s: gc: %+v, %v", when, garbage, err)
				}
			}
			_, info := n.Info(t.Context())
			_, check := n.Check(t.Context())
			_, _, egress := n.Egress(t.Context())
			for what, err := range map[string]error{
				"info": info, "check": check, "egress": egress, "repair": n.Repair(t.Context()),
			} {
				if !errors.Is(err, errcode.NetworkNotFound) {
					t.Errorf("%s: %s: %v", when, what, err)
				}
			}
			if err := errors.Join(n.Cleanup(t.Context()), n.Close()); err != nil {
				t.Errorf("%s: close: %v", when, err)
			}
		}
		look("at first")
		if _, err := os.Lstat(filepath.Join(dir, ".networks")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("looking has made a directory: %v", err)
		}
		n, err := hostnet.New(hostnet.Options{Dir: dir})
		if err != nil {
			t.Error(err)
			return
		}
		if err := n.Hold(t.Context()); !errors.Is(err, errcode.NotPermitted) {
			t.Errorf("hold: %v", err)
		}
		if _, err := n.CreateTAP(t.Context(), "vm", "eth0"); !errors.Is(err, errcode.NotPermitted) {
			t.Errorf("create a TAP: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		look("after an attempt")
	})
}
