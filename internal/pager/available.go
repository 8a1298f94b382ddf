package pager

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

const device = "/dev/userfaultfd"

// Available tells whether a Firecracker with our privileges could have its memory served:
// it does what that does. For a jailed one, root asks, since the jailer puts the device
// into the jail. The error is HOST_UNSUPPORTED and says what is missing.
func Available(hugePages bool) error {
	descriptor, err := open()
	if err != nil {
		return unsupported(err)
	}
	defer func() { _ = unix.Close(int(descriptor)) }()
	features := uint64(featureRemove)
	if hugePages {
		features |= featureHugePages
	}
	if err = descriptor.enable(features); errors.Is(err, unix.EINVAL) {
		err = errors.New("this kernel's userfaultfd does not tell when memory is given back, or knows no huge pages (Linux 4.11 is needed)")
	}
	if err != nil {
		return unsupported(err)
	}
	return nil
}

func unsupported(err error) error {
	e := &errcode.Error{Code: errcode.HostUnsupported, Op: "look at userfaultfd", Err: err}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "allow this user to open " + device + ", or run as root"
	case errors.Is(err, unix.ENOSYS):
		e.Hint = "a kernel with CONFIG_USERFAULTFD is needed"
	}
	return e
}

// open makes a userfaultfd that handles the kernel's faults too, which KVM causes. It does
// so like Firecracker: by the device if there is one, which Linux has since 6.1, else by
// the call, for which one has to be root or vm.unprivileged_userfaultfd to be 1.
func open() (uffd, error) {
	const flags = unix.O_CLOEXEC | unix.O_NONBLOCK
	dev, err := os.OpenFile(device, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, flags, 0, 0)
		if errno != 0 {
			return -1, fmt.Errorf("there is no %s, and the call fails: %w", device, errno)
		}
		return uffd(fd), nil
	}
	if err != nil {
		return -1, err
	}
	defer dev.Close()
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, dev.Fd(), deviceNew, flags)
	if errno != 0 {
		return -1, &os.PathError{Op: "ioctl", Path: device, Err: errno}
	}
	return uffd(fd), nil
}
