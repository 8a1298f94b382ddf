package hosttest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Mount mounts a file system nowhere: only a descriptor reaches it, so it is gone
// with the test, however that ends. An option without a value is a flag, such as
// "ro". The test needs [Root], and is skipped where the kernel has no such kind.
func Mount(tb testing.TB, kind string, options map[string]string) *os.Root {
	tb.Helper()
	Need(tb, Root)
	fsfd, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		tb.Skipf("the kernel has no %s: %v", kind, err)
	}
	defer func() { _ = unix.Close(fsfd) }()
	for key, value := range options {
		set := func() error { return unix.FsconfigSetString(fsfd, key, value) }
		if value == "" {
			set = func() error { return unix.FsconfigSetFlag(fsfd, key) }
		}
		if err := set(); err != nil {
			tb.Fatalf("%s=%s: %v", key, value, err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		tb.Fatalf("mount %s: %v", kind, err)
	}
	mount, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Close(mount) })
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", mount))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = root.Close() })
	return root
}

// LoopDevice makes a block device of a file and returns its path. The kernel
// drops it with its last user. The test needs [Loop].
func LoopDevice(tb testing.TB, file string) string {
	tb.Helper()
	Need(tb, Loop)
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = control.Close() }()
	back, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = back.Close() }()
	// Another process may take the free number first.
	for range 50 {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			tb.Fatal(err)
		}
		device := fmt.Sprintf("/dev/loop%d", number)
		dev, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			tb.Fatal(err)
		}
		config := unix.LoopConfig{Fd: uint32(back.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		if err := unix.IoctlLoopConfigure(int(dev.Fd()), &config); err != nil {
			_ = dev.Close()
			continue
		}
		tb.Cleanup(func() { _ = dev.Close() })
		return device
	}
	tb.Fatal("no free loop device")
	return ""
}
