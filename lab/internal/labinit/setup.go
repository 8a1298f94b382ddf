package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/lab/internal/link"

	"github.com/smartvm/smartvm/lab/internal/loopback"
)

// setUp makes a host of the machine, as far as tests want one.
func setUp(s link.Settings) error {
	if err := mountShares(s.Shares); err != nil {
		return err
	}
	err := mountAll([]mount{
		{"tmpfs", "/tmp", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
		{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,ptmxmode=0666"},
		{"cgroup2", "/sys/fs/cgroup", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	})
	if err != nil {
		return err
	}
	if err := fillRoot(s); err != nil {
		return err
	}
	for _, m := range s.Load {
		if err := load(filepath.Join(s.Modules, m.Path), m.Parameters); err != nil {
			return err
		}
	}
	if err := makeNodes(filepath.Join(s.Modules, "modules.devname")); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("lab")); err != nil {
		return os.NewSyscallError("sethostname", err)
	}
	const files = 1 << 20 // a host's hard limit
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: files, Max: files}); err != nil {
		return os.NewSyscallError("setrlimit", err)
	}
	return loopback.Raise()
}

func mountShares(shares []link.Share) error {
	for _, share := range shares {
		if err := os.MkdirAll(share.Path, 0o755); err != nil { //nolint:gosec // as everywhere
			return err
		}
		var flags uintptr
		if !share.Writable {
			flags = unix.MS_RDONLY
		}
		if err := unix.Mount(share.Tag, share.Path, "virtiofs", flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", share.Path, err)
		}
	}
	return nil
}

// fillRoot makes the links and files that programs expect.
func fillRoot(s link.Settings) error {
	var errs []error
	for _, dir := range []string{"/etc", "/lib/modules", "/usr", "/mnt", "/srv", "/var/lib", "/run/lock", "/run/netns"} {
		errs = append(errs, os.MkdirAll(dir, 0o755)) //nolint:gosec // as everywhere
	}
	errs = append(errs, os.Mkdir("/root", 0o700))
	for path, target := range map[string]string{
		"/bin": s.Programs, "/sbin": s.Programs, "/usr/bin": s.Programs, "/usr/sbin": s.Programs,
		"/lib/modules/" + s.Release: s.Modules,
		"/var/run":                  "/run", "/var/tmp": "/tmp",
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "fd/0", "/dev/stdout": "fd/1", "/dev/stderr": "fd/2",
		"/etc/mtab": "/proc/self/mounts",
	} {
		errs = append(errs, os.Symlink(target, path))
	}
	for path, text := range map[string]string{ //nolint:gosec // there is no password in it
		"/etc/passwd":      "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"/etc/group":       "root:x:0:\nnogroup:x:65534:\n",
		"/etc/hosts":       "127.0.0.1 localhost lab\n::1 localhost\n",
		"/etc/resolv.conf": "",
	} {
		errs = append(errs, os.WriteFile(path, []byte(text), 0o644)) //nolint:gosec // nothing in it is a secret
	}
	return errors.Join(errs...)
}
