package jail

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// Bare is a mount namespace in which there is nothing but a root with devices and copies of
// programs, which nobody else sees. To begin with a copy of it takes a tenth of what it takes
// to copy the mounts of a host and to leave them, and there is nothing behind the jail that
// it becomes.
//
// It is made when it is needed first. Its methods may be called from several goroutines.
type Bare struct {
	mu   sync.Mutex
	ns   *os.File // nil as long as it is not there
	root *os.File
	last *Program // nil without one
}

// Unshare moves the calling thread into a copy of it, as [Unshare] into one of the host's
// mounts, for [Entrance.Enclose]. Only a thread that does nothing else afterwards but start
// a program may do this: it has no /proc any more.
func (b *Bare) Unshare(void *Void) error {
	if err := void.separate(); err != nil {
		return err
	}
	if err := b.enter(); err != nil {
		return err
	}
	return os.NewSyscallError("unshare mount namespace", unix.Unshare(unix.CLONE_NEWNS))
}

func (b *Bare) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.make(); err != nil {
		return err
	}
	return joinMounts(int(b.ns.Fd()))
}

// make makes it, unless it is there.
func (b *Bare) make() error {
	if b.ns != nil {
		return nil
	}
	return proc.OnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return os.NewSyscallError("unshare mount namespace", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil { // else the host's would go below
			return os.NewSyscallError("mount --make-rprivate /", err)
		}
		ns, err := os.Open("/proc/thread-self/ns/mnt")
		if err != nil {
			return err
		}
		all := devices() // as long as the host's are to be seen
		root, err := leaveMounts()
		if err != nil {
			return errors.Join(err, ns.Close())
		}
		if err := makeDevices(root, all); err != nil {
			return errors.Join(err, ns.Close(), root.Close())
		}
		b.ns, b.root = ns, root
		return nil
	})
}

// leaveMounts has the calling thread's mount namespace be an empty directory, and returns
// that.
func leaveMounts() (root *os.File, err error) {
	// Any directory will do to mount it on: it is left with the rest.
	const place = "/proc"
	if err := unix.Mount("smartvm", place, "tmpfs", unix.MS_NOSUID, "mode=700"); err != nil {
		return nil, &os.PathError{Op: "mount tmpfs", Path: place, Err: err}
	}
	if err := unix.Chdir(place); err != nil {
		return nil, &os.PathError{Op: "chdir", Path: place, Err: err}
	}
	// The old root gets on top of the new one, from where it is taken away (pivot_root(2)).
	if err := unix.PivotRoot(".", "."); err != nil {
		return nil, os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return nil, os.NewSyscallError("umount old root", err)
	}
	return os.Open("/")
}

// Close lets go of it. What is in a copy keeps that.
func (b *Bare) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ns == nil {
		return nil
	}
	err := errors.Join(b.replace(nil), b.ns.Close(), b.root.Close())
	b.ns, b.root = nil, nil
	return err
}
