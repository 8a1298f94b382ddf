package jail

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A program gets into a jail in one of two ways. Firecracker's jailer makes the devices,
// copies the program and leaves the mounts of the host behind, see [Entrance.Isolate]. For
// a VM that is restored the jailer would take half as long as all the rest: Furnish and
// Enclose do what it does, in fewer steps (docs/decisions/0013-jails-of-restored-vms.md).

// Furnish makes the places that a program and its devices will have in the jail.
func (e *Entrance) Furnish(program *Program) (err error) {
	e.program = program
	if err := e.placeholder(program.Name()); err != nil {
		return err
	}
	if err := e.makeDir(devicesName); err != nil {
		return err
	}
	if e.tree, err = e.jail.mount(); err != nil {
		return err
	}
	// In it Firecracker makes its socket, until the jail is sealed.
	return e.root.Lchown(".", e.jail.UID, e.jail.GID)
}

// Enclose moves the calling thread, which is in a copy of a [Bare] namespace, into the jail,
// which is all that there is from then on; and into the network if the entrance has one. Only
// a thread that does nothing else afterwards but start the program may do this.
func (e *Entrance) Enclose() error {
	if err := moveMount(e.tree, unix.AT_FDCWD, "/"); err != nil {
		return err
	}
	root := int(e.tree.Fd())
	err := errors.Join(
		fromBare(e.program.path(), root, e.program.Name(), unix.MOUNT_ATTR_NODEV),
		fromBare("/"+devicesName, root, devicesName, unix.MOUNT_ATTR_NOEXEC),
	)
	if err != nil {
		return err
	}
	if err := e.attach(root); err != nil {
		return err
	}
	if err := e.enterNetwork(); err != nil {
		return err
	}
	// The thread's root still is what the jail was mounted on. Unlike pivot_root(2), which
	// would exchange the two, to change the root waits for nobody; and below is nothing.
	if err := unix.Fchdir(root); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	return os.NewSyscallError("chroot", unix.Chroot("."))
}

// fromBare gives what is in the thread's root a name in a jail, where it can't be changed.
func fromBare(path string, root int, name string, attributes uint64) error {
	tree, err := cloneMount(path, &unix.MountAttr{Attr_set: attributes | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_RDONLY})
	if err != nil {
		return err
	}
	defer tree.Close()
	return moveMount(tree, root, name)
}
