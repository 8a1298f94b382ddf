package proc

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
)

// call makes a system call on the calling thread.
func call(number uintptr, args ...uintptr) error {
	var a [4]uintptr
	copy(a[:], args)
	if _, _, errno := unix.RawSyscall6(number, a[0], a[1], a[2], a[3], 0, 0); errno != 0 {
		return errno
	}
	return nil
}

func TestRestrictedThreadIsRefusedWhatLeadsOutOfAJailAndNothingElse(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name, err := unix.BytePtrFromString(file)
	if err != nil {
		t.Fatal(err)
	}
	path, here := uintptr(unsafe.Pointer(name)), ^uintptr(99) // AT_FDCWD
	tests := []struct {
		what          string
		call          []uintptr
		free, refused error // what it says without the filter, and with it
	}{
		{"chmod 0644", []uintptr{unix.SYS_FCHMODAT, here, path, 0o644}, nil, nil},
		{"chmod u+s", []uintptr{unix.SYS_FCHMODAT, here, path, 0o4755}, nil, unix.EPERM},
		{"chmod g+s", []uintptr{unix.SYS_FCHMODAT, here, path, 0o2755}, nil, unix.EPERM},
		{"fchmod u+s", []uintptr{unix.SYS_FCHMOD, f.Fd(), 0o4755}, nil, unix.EPERM},
		{"fchmod 0600", []uintptr{unix.SYS_FCHMOD, f.Fd(), 0o600}, nil, nil},
		{"add_key", []uintptr{unix.SYS_ADD_KEY}, unix.EFAULT, unix.EPERM},
		{"request_key", []uintptr{unix.SYS_REQUEST_KEY}, unix.EFAULT, unix.EPERM},
		{"keyctl", []uintptr{unix.SYS_KEYCTL, ^uintptr(0)}, unix.EOPNOTSUPP, unix.EPERM},
		// In a process with several threads neither can be had, for another reason.
		{"unshare user", []uintptr{unix.SYS_UNSHARE, unix.CLONE_NEWUSER}, unix.EINVAL, unix.EPERM},
		{"clone user", []uintptr{unix.SYS_CLONE, unix.CLONE_NEWUSER | unix.CLONE_FS}, unix.EINVAL, unix.EPERM},
		{"unshare mounts", []uintptr{unix.SYS_UNSHARE, unix.CLONE_NEWNS}, nil, nil},
		{"clone3", []uintptr{unix.SYS_CLONE3, 0, 0}, unix.EINVAL, unix.ENOSYS},
		{"another ABI", []uintptr{1<<30 | unix.SYS_GETPID}, otherFree(), otherRefused()},
	}
	for _, restricted := range []bool{false, true} {
		err := OnThread(func() error {
			if restricted {
				if err := restrict(false); err != nil {
					return err
				}
			}
			for _, tt := range tests {
				want := tt.free
				if restricted {
					want = tt.refused
				}
				if err := call(tt.call[0], tt.call[1:]...); !errors.Is(err, want) {
					t.Errorf("restricted %t: %s: %v, want %v", restricted, tt.what, err, want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err = OnThread(func() error {
		if err := restrict(true); err != nil {
			return err
		}
		return call(unix.SYS_CLONE3, 0, 0)
	})
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("clone3 where it is needed: %v, want EINVAL", err)
	}
}

// A kernel without x32 does not know its calls, with or without a filter.
func otherFree() error {
	return call(1<<30 | unix.SYS_GETPID)
}

func otherRefused() error { return unix.ENOSYS }

func TestFilterThatAProcessBeginsWithDoesNotConfineIt(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	p, err := Start(Spec{
		Path: "/bin/sleep", Args: []string{"1000"}, Dir: "/", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Isolate: func() error { return nil }, Restricted: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Kill(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if n, err := seccompFilters(p.procPath("status")); err != nil || n == 0 {
		t.Errorf("%d filters, %v: it is not under ours", n, err)
	}
	if confined, err := p.Confined(); err != nil || confined {
		t.Errorf("confined %t, %v, want that it has done nothing for that", confined, err)
	}
}
