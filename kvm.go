package smartvm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/pool"
)

// From the kernel's include/uapi/linux/kvm.h: the version is 12 for good.
const (
	kvmGetAPIVersion = 0xae00
	kvmAPIVersion    = 12
)

// checkKVM fails early and with a remedy; Firecracker would notice only when
// the guest is to start.
func checkKVM() error {
	err := askKVM()
	if err == nil {
		return nil
	}
	e := &Error{Code: errcode.KVMUnavailable, Op: "open", Subject: "/dev/kvm", Err: err}
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		user := pool.Current()
		e.Hint = "let an administrator run: " + user.Command() + "; or join the group of the device (usermod -aG kvm " + user.Name + ") and log in again"
	default:
		e.Hint = "load the module kvm_intel or kvm_amd; in a virtual machine, enable nested virtualisation"
	}
	return e
}

func askKVM() error {
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	version, err := unix.IoctlRetInt(fd, kvmGetAPIVersion)
	if err == nil && version != kvmAPIVersion {
		err = fmt.Errorf("it speaks version %d of its API, not %d", version, kvmAPIVersion)
	}
	return errors.Join(err, unix.Close(fd))
}
