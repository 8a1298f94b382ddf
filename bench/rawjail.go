package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/smartvm/smartvm/internal/hello"
)

// rawJailed is a rawVM that Firecracker's jailer starts, in a jail that was made with
// as little as will do. Its directory is the jail's root.
type rawJailed struct {
	rawVM

	uid int
}

// Users of jails that smartvm and the raw arms make. They are not those that smartvm
// gives by default, which may be in use.
const (
	smartFirstUID = 1_800_000_000
	rawFirstUID   = 1_810_000_000
)

// newRawJailed returns a VM that has nothing on the host yet. The jailer wants its root
// to be BASE/PROGRAM/ID/root.
func (l *lab) newRawJailed() *rawJailed {
	l.made++
	v := &rawJailed{uid: rawFirstUID + l.made}
	v.lab, v.dir = l, filepath.Join(l.rawJails(), filepath.Base(l.binary.Path), fmt.Sprintf("raw-%d", l.made), "root")
	return v
}

// rawJails is the directory of the jails of one program, which are made in it.
func (l *lab) rawJails() string { return filepath.Join(l.memory, "jails") }

func (v *rawJailed) home() string { return filepath.Dir(v.dir) }

// prepare makes the jail with what Firecracker needs in it. The kernel is on the same
// file system, and everybody may read it: a hard link is the cheapest way in.
func (v *rawJailed) prepare() error {
	if err := v.makeRoot(); err != nil {
		return err
	}
	return errors.Join(
		os.Link(v.lab.openKernel, v.path(kernelName)),
		v.give(configName, v.lab.fileWith(kernelName, "")),
		v.give(logName, nil),
	)
}

func (v *rawJailed) makeRoot() error {
	if err := os.Mkdir(v.home(), dirMode); err != nil {
		return err
	}
	return os.Mkdir(v.dir, dirMode)
}

// prepareLoad makes the jail with the calm snapshot in it, but for the disk.
func (v *rawJailed) prepareLoad() error {
	if err := v.makeRoot(); err != nil {
		return err
	}
	errs := []error{v.give(logName, nil), os.Mkdir(v.path("drive"), 0o755)} //nolint:gosec // others enter it
	for _, name := range []string{calm + stateSuffix, calm + memorySuffix} {
		errs = append(errs, os.Link(v.lab.path(name), v.path(name)))
	}
	return errors.Join(errs...)
}

// give makes a file of the jail's user.
func (v *rawJailed) give(name string, content []byte) error {
	f, err := os.OpenFile(v.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Chown(v.uid, v.uid), f.Close())
}

// boot starts the VM and waits for the guest.
func (v *rawJailed) boot() error {
	if err := v.jailer("--config-file", configName); err != nil {
		return err
	}
	return v.awaitMarker()
}

// jailer starts the jailer, which becomes Firecracker: that so has its pid and its output.
func (v *rawJailed) jailer(more ...string) error {
	uid := strconv.Itoa(v.uid)
	return v.run(append([]string{
		v.lab.jailer.Path, "--id", filepath.Base(v.home()), "--exec-file", v.lab.binary.Path,
		"--uid", uid, "--gid", uid, "--chroot-base-dir", v.lab.rawJails(), "--",
		"--api-sock", socketName, "--log-path", logName, "--level", logLevel,
	}, more...)...)
}

func (v *rawJailed) discard() error { return errors.Join(v.rawVM.discard(), os.RemoveAll(v.home())) }

// kernelName is the kernel of everybody, on the host and in a raw jail.
const kernelName = "open-kernel"

// openJails makes what all jails share.
func (l *lab) openJails() error {
	l.openKernel = filepath.Join(l.memory, kernelName)
	if err := os.WriteFile(l.openKernel, hello.Image(), 0o644); err != nil { //nolint:gosec // others shall read it
		return err
	}
	return os.MkdirAll(filepath.Join(l.rawJails(), filepath.Base(l.binary.Path)), dirMode)
}
