package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// moduleDir has the modules in the initramfs, named so that they sort in the order
// in which they have to be loaded.
const moduleDir = "/modules"

// boot gets the machine as far as the port that the rest comes through.
func boot() error {
	err := mountAll([]mount{
		{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=0755"},
		{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	})
	if err != nil {
		return err
	}
	// What the kernel says goes to the emulator's serial port, at the price of a trip
	// to the emulator for each byte.
	if err := os.WriteFile("/proc/sys/kernel/printk", []byte("1"), 0); err != nil {
		return err
	}
	entries, err := os.ReadDir(moduleDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := load(filepath.Join(moduleDir, e.Name()), ""); err != nil {
			return err
		}
	}
	return changeRoot()
}

// mount is a file system that has no device.
type mount struct {
	kind, path string
	flags      uintptr
	data       string
}

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.path, 0o755); err != nil { //nolint:gosec // as everywhere
			return err
		}
		if err := unix.Mount(m.kind, m.path, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s at %s: %w", m.kind, m.path, err)
		}
	}
	return nil
}

// load loads a module, unless it is there already.
func load(path, parameters string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), parameters, 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}

// changeRoot makes a tmpfs the root. The initramfs can't stay it: pivot_root, which
// the jailer and containers use, refuses to leave the first of all mounts.
func changeRoot() error {
	const root = "/root"
	err := mountAll([]mount{{"tmpfs", root, 0, "mode=0755"}})
	if err != nil {
		return err
	}
	for _, path := range []string{"/dev", "/proc", "/sys"} {
		if err := os.Mkdir(root+path, 0o755); err != nil { //nolint:gosec // as everywhere
			return err
		}
		if err := unix.Mount(path, root+path, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", path, err)
		}
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// portPath is the only port of the only virtio-serial device.
const portPath = "/dev/vport0p1"

// openPort waits for the port, which the emulator announces once the driver is
// there. Its first write waits until the other side is connected.
func openPort() (*os.File, error) {
	changes, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	defer func() { _ = unix.Close(changes) }()
	if _, err := unix.InotifyAddWatch(changes, filepath.Dir(portPath), unix.IN_CREATE); err != nil {
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	buf := make([]byte, 4<<10)
	for {
		port, err := os.OpenFile(portPath, os.O_RDWR, 0)
		if !os.IsNotExist(err) {
			return port, err
		}
		if _, err := unix.Read(changes, buf); err != nil && !errors.Is(err, unix.EINTR) {
			return nil, os.NewSyscallError("read", err)
		}
	}
}

// makeNodes makes the device nodes whose use loads a module, such as /dev/net/tun.
// A line of modules.devname is "tun net/tun c10:200".
func makeNodes(index string) error {
	data, err := os.ReadFile(index)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		var module, node string
		var major, minor uint32
		if n, err := fmt.Sscanf(line, "%s %s c%d:%d", &module, &node, &major, &minor); err != nil || n != 4 {
			return fmt.Errorf("%s: not a node: %q", index, line)
		}
		path := filepath.Join("/dev", node)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as everywhere
			return err
		}
		err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(major, minor)))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return &os.PathError{Op: "mknod", Path: path, Err: err}
		}
	}
	return nil
}
