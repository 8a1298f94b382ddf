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
	for _, kind := range []string{"net", "mnt"} {
		there, here := fmt.Sprintf("/proc/self/task/%d/ns/%s", thread, kind), "/proc/thread-self/ns/"+kind
		var a, b unix.Stat_t
		if err := errors.Join(unix.Stat(there, &a), unix.Stat(here, &b)); err != nil {
			return &os.PathError{Op: "stat", Path: there, Err: err}
		}
		if a.Ino == b.Ino && a.Dev == b.Dev {
			continue
		}
		if err := enterNamespace(there); err != nil {
			return err
		}
	}
	return nil
}

func enterNamespace(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // else there is no way into a mount namespace
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(int(f.Fd()), 0); err != nil {
		return &os.PathError{Op: "setns", Path: path, Err: err}
	}
	return nil
}
