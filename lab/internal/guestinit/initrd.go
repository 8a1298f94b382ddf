package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/lab/internal/guestline"
)

// mountRoot loads what the machine's devices need and makes the root drive the root.
func mountRoot() error {
	if err := mountKernel(); err != nil {
		return err
	}
	text, err := os.ReadFile(guestline.PlanPath)
	if err != nil {
		return err
	}
	var plan guestline.Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return fmt.Errorf("%s: %w", guestline.PlanPath, err)
	}
	if err := loadFor(plan); err != nil {
		return err
	}
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	r := parseRoot(string(line))
	if r.device == "" {
		return errors.New("the kernel was given no root=")
	}
	return r.enter(plan)
}

// mountKernel mounts what the kernel tells.
func mountKernel() error {
	return mountAll([]mount{
		{"devtmpfs", "/dev", unix.MS_NOSUID}, {"proc", "/proc", unix.MS_NOSUID}, {"sysfs", "/sys", unix.MS_NOSUID},
	})
}

// mount is a file system that has no device.
type mount struct {
	kind, path string
	flags      uintptr
}

// mountAll leaves what is mounted already.
func mountAll(mounts []mount) error {
	for _, m := range mounts {
		err := unix.Mount(m.kind, m.path, m.kind, m.flags, "")
		if err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.path, err)
		}
	}
	return nil
}

// loadFor loads the modules for the devices that there are, and no others: each
// costs its time.
func loadFor(plan guestline.Plan) error {
	if err := loadAll(plan.Always); err != nil {
		return err
	}
	devices, err := filepath.Glob("/sys/bus/virtio/devices/*/device")
	if err != nil {
		return err
	}
	for _, path := range devices {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		number, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 32) // 0x0002
		if err != nil {
			return err
		}
		if err := loadAll(plan.Devices[strconv.FormatUint(number, 10)]); err != nil {
			return err
		}
	}
	return nil
}

// loadAll loads modules, those that are loaded already as well.
func loadAll(paths []string) error {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		_ = f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

// root is what the kernel's arguments say about the root file system.
type root struct {
	device string
	kind   string // "" for whatever it is
	flags  uintptr
}

// parseRoot reads root=, rootfstype=, ro and rw. The last of a kind counts.
func parseRoot(line string) root {
	r := root{flags: unix.MS_RDONLY}
	for word := range strings.FieldsSeq(line) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "root":
			r.device = value
		case "rootfstype":
			r.kind = value
		case "ro":
			r.flags |= unix.MS_RDONLY
		case "rw":
			r.flags &^= unix.MS_RDONLY
		}
	}
	return r
}

// enter mounts the root and moves into it.
func (r root) enter(plan guestline.Plan) error {
	const dir = "/root"
	kinds := []string{r.kind}
	if r.kind == "" {
		kinds = []string{"ext4", "squashfs"}
	}
	var errs []error
	for _, kind := range kinds {
		err := loadAll(plan.FileSystems[kind])
		if err == nil {
			err = unix.Mount(r.device, dir, kind, r.flags, "")
		}
		if err == nil {
			return changeRoot(dir)
		}
		errs = append(errs, fmt.Errorf("mount %s as %s: %w", r.device, kind, err))
	}
	return errors.Join(errs...)
}

func changeRoot(dir string) error {
	for _, path := range []string{"/dev", "/proc", "/sys"} {
		if err := unix.Mount(path, dir+path, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", path, err)
		}
	}
	if err := unix.Chdir(dir); err != nil {
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
