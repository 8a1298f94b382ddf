package jail

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrKeptOpen is matched by errors about a file that a confined process holds on to.
var ErrKeptOpen = errors.New("it is still open for writing")

// Withdraw takes files that were brought to be written from the jail of a process, which
// is given by a pidfd. From then on nothing in it can write to them or change them, even by
// a descriptor that it has kept: their mounts are read-only first, which the kernel refuses
// as long as anybody has one of them open for writing, see [ErrKeptOpen]. Only a thread
// that ends afterwards may do this.
func Withdraw(pidfd int, inside []string) error {
	if err := joinMounts(pidfd); err != nil {
		return err
	}
	for _, name := range inside {
		if err := withdraw("/" + name); err != nil {
			return fmt.Errorf("take %s from the jail: %w", name, err)
		}
	}
	return nil
}

func withdraw(path string) error {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return os.NewSyscallError("openat2", err)
	}
	mount := os.NewFile(uintptr(fd), path)
	err = setAttributes(mount, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if errors.Is(err, unix.EBUSY) {
		err = ErrKeptOpen
	}
	return errors.Join(err, mount.Close(), os.NewSyscallError("umount", unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)))
}
