package proc

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// place tells the network and the mount namespace of a thread from others that there are.
type place struct {
	root   uint64 // id of the mount that is its /, which no other namespace has
	cookie uint64 // of the network namespace
}

// whereabouts returns where the calling thread is, unless the kernel can't tell: it can
// since Linux 5.14.
func whereabouts() (p place, ok bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, "/", 0, unix.STATX_MNT_ID, &st); err != nil || st.Mask&unix.STATX_MNT_ID == 0 {
		return p, false
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return p, false
	}
	defer func() { _ = unix.Close(socket) }()
	cookie, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return place{st.Mnt_id, cookie}, err == nil
}

// enterNamespacesOf moves the calling thread into the network and the mount namespace
// of another one of this process: a program that has locked a goroutine to a thread,
// and moved that somewhere, expects of a child that it is there as well.
func enterNamespacesOf(thread int) error {
	// The mounts last: from then on /proc may be another one.
	for _, kind := range []struct {
		name string
		flag int
	}{{"net", unix.CLONE_NEWNET}, {"mnt", unix.CLONE_NEWNS}} {
		there, here := fmt.Sprintf("/proc/self/task/%d/ns/%s", thread, kind.name), "/proc/thread-self/ns/"+kind.name
		var a, b unix.Stat_t
		if err := errors.Join(unix.Stat(there, &a), unix.Stat(here, &b)); err != nil {
			return &os.PathError{Op: "stat", Path: there, Err: err}
		}
		if a.Ino == b.Ino && a.Dev == b.Dev {
			continue
		}
		if err := EnterNamespace(there, kind.flag); err != nil {
			return err
		}
	}
	return nil
}

// EnterNamespace moves the calling thread into the namespace that a path leads to, of a
// kind such as unix.CLONE_NEWNET. It is for a thread that ends afterwards, see [OnThread].
func EnterNamespace(path string, kind int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // else there is no way into a mount namespace
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(int(f.Fd()), kind); err != nil {
		return &os.PathError{Op: "enter namespace", Path: path, Err: err}
	}
	return nil
}

// EnterNetwork moves the calling thread into a network namespace. It is for a thread that
// ends afterwards, see [OnThread].
func EnterNetwork(ns *os.File) error {
	return os.NewSyscallError("setns", unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET))
}

// NewNetwork makes an empty network namespace, which lives as long as the file is open,
// or something is in it.
func NewNetwork() (ns *os.File, err error) {
	err = OnThread(func() error {
		ns, err = EnterNewNetwork()
		return err
	})
	return ns, err
}

// EnterNewNetwork moves the calling thread into a network namespace that it makes, see
// [NewNetwork]. It is for a thread that ends afterwards, see [OnThread].
func EnterNewNetwork() (ns *os.File, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("unshare network namespace", err)
	}
	return os.Open("/proc/thread-self/ns/net")
}
