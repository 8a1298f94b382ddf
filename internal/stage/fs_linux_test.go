package stage

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// needRoot skips where file systems can't be mounted.
func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root to mount file systems")
	}
}

// openRoot opens a directory until the test ends.
func openRoot(tb testing.TB, dir string) *os.Root {
	tb.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = root.Close() })
	return root
}

// detached mounts a file system nowhere: only its descriptor reaches it, so it
// is gone with the test, however that ends.
func detached(tb testing.TB, kind string, options map[string]string) *os.Root {
	tb.Helper()
	needRoot(tb)
	fsfd, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		tb.Skipf("the kernel has no %s: %v", kind, err)
	}
	defer func() { _ = unix.Close(fsfd) }()
	for key, value := range options {
		if err := unix.FsconfigSetString(fsfd, key, value); err != nil {
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
	return openRoot(tb, fmt.Sprintf("/proc/self/fd/%d", mount))
}

func tmpfs(tb testing.TB, size string) *os.Root {
	tb.Helper()
	return detached(tb, "tmpfs", map[string]string{"size": size})
}

// onDisk makes a file system of the kind inside a sparse file and mounts it.
func onDisk(tb testing.TB, kind string, size int64) *os.Root {
	tb.Helper()
	needRoot(tb)
	image := filepath.Join(tb.TempDir(), kind)
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		tb.Fatal(err)
	}
	mkfs(tb, kind, image)
	return detached(tb, kind, map[string]string{"source": loop(tb, image)})
}

func mkfs(tb testing.TB, kind, image string) {
	tb.Helper()
	debian := map[string]string{"xfs": "xfsprogs", "btrfs": "btrfs-progs", "ext4": "e2fsprogs"}[kind]
	if _, err := exec.LookPath("mkfs." + kind); err != nil {
		tb.Skipf("needs mkfs.%s from the Debian package %s", kind, debian)
	}
	if out, err := exec.CommandContext(tb.Context(), "mkfs."+kind, "-q", image).CombinedOutput(); err != nil {
		tb.Fatalf("mkfs.%s: %v\n%s", kind, err, out)
	}
}

// loop makes a block device of a file. The kernel drops it with its last user.
func loop(tb testing.TB, image string) string {
	tb.Helper()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		tb.Skip("needs loop devices: ", err)
	}
	defer func() { _ = control.Close() }()
	back, err := os.OpenFile(image, os.O_RDWR, 0)
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

// write makes a file of size bytes with random data in the given extents.
func write(tb testing.TB, dir *os.Root, name string, size int64, data ...extent) string {
	tb.Helper()
	f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		tb.Fatal(err)
	}
	for _, e := range data {
		if _, err := io.Copy(io.NewOffsetWriter(f, e.offset), io.LimitReader(rand.Reader, e.length)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir.Name(), name)
}

func hash(tb testing.TB, name string) string {
	tb.Helper()
	f, err := os.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func blocks(tb testing.TB, name string) int64 {
	tb.Helper()
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		tb.Fatal(err)
	}
	return st.Blocks * 512
}

// names lists what a directory holds.
func names(tb testing.TB, dir *os.Root) []string {
	tb.Helper()
	d, err := dir.Open(".")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	list, err := d.Readdirnames(-1)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}
