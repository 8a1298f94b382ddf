package proc

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

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
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare network namespace", err)
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}
