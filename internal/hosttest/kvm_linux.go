package hosttest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// From the kernel's include/uapi/linux/kvm.h.
const (
	kvmGetAPIVersion = 0xae00
	kvmCreateVM      = 0xae01
	kvmAPIVersion    = 12
)

func lackKVM() string {
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no /dev/kvm: modprobe kvm_intel or kvm_amd, with nested virtualisation switched on in a virtual machine"
	case errors.Is(err, fs.ErrPermission):
		return "/dev/kvm may not be opened: join the group that owns it (usually kvm), or run as root"
	case err != nil:
		return err.Error()
	}
	defer kvm.Close()

	if version, err := unix.IoctlRetInt(int(kvm.Fd()), kvmGetAPIVersion); err != nil || version != kvmAPIVersion {
		return fmt.Sprintf("/dev/kvm speaks version %d of its API, want %d (%v)", version, kvmAPIVersion, err)
	}
	vm, err := unix.IoctlRetInt(int(kvm.Fd()), kvmCreateVM)
	if err != nil {
		return fmt.Sprintf("/dev/kvm makes no virtual machine: %v (see dmesg)", err)
	}
	if err := unix.Close(vm); err != nil {
		return err.Error()
	}
	return ""
}
