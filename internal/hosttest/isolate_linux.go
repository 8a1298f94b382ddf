package hosttest

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Isolate puts the test's goroutine, and the processes it starts, into a network
// and a mount namespace of their own, in which [Residue] sees every link and
// mount. Other goroutines stay outside. The test needs [Root]. What the namespaces
// hold is gone with the test.
func Isolate(tb testing.TB) {
	tb.Helper()
	Need(tb, Root)
	// Never unlocked: the thread can't go back, so it has to end with the goroutine.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		tb.Fatal("make namespaces: ", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		tb.Fatal("keep mounts from spreading to the host: ", err)
	}
}
