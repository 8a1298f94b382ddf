package jail

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// Isolate moves the calling thread into namespaces of its own: for mounts, where the jail
// has what was brought, for IPC and for the host name; and into the network if the entrance
// has one. Only a thread
// that does nothing else afterwards but start the jailer may do this.
func (e *Entrance) Isolate() error {
	if err := Unshare(nil); err != nil {
		return err
	}
	return e.Attach()
}

// Unshare is the first part of [Entrance.Isolate], for which nothing has to be there. With a
// [Void] the thread has IPC and host name of that.
func Unshare(void *Void) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare mount namespace", err)
	}
	if err := void.separate(); err != nil {
		return err
	}
	// Else what is mounted here would be seen by the host, where / is shared.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return os.NewSyscallError("mount --make-rslave /", err)
	}
	return nil
}

// Attach is the rest of [Entrance.Isolate].
func (e *Entrance) Attach() error {
	if err := e.bindRoot(); err != nil {
		return err
	}
	root, err := os.OpenFile(e.jail.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := e.attach(int(root.Fd())); err != nil {
		return err
	}
	return e.enterNetwork()
}

// enterNetwork moves the calling thread into the network that the entrance has.
func (e *Entrance) enterNetwork() error {
	switch {
	case e.Network != nil:
		return proc.EnterNetwork(e.Network)
	case e.Void != nil:
		return e.Void.enter()
	}
	return nil
}

// bindRoot mounts the root over itself.
func (e *Entrance) bindRoot() error {
	tree, err := e.jail.mount()
	if err != nil {
		return err
	}
	defer tree.Close()
	return moveMount(tree, unix.AT_FDCWD, e.jail.Root)
}

// mount makes a mount of the root that is attached nowhere yet. In it devices and the
// program work although its file system may be mounted with nodev and noexec, as /dev/shm is.
func (j *Jail) mount() (*os.File, error) {
	return cloneMount(j.Root, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_NOSUID, Attr_clr: unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC, Propagation: unix.MS_PRIVATE,
	})
}

// attach gives what was brought its names below a root.
func (e *Entrance) attach(root int) error {
	for _, b := range e.binds {
		if err := moveMount(b.tree, root, b.inside); err != nil {
			return err
		}
	}
	return nil
}

func moveMount(tree *os.File, dir int, path string) error {
	if err := unix.MoveMount(int(tree.Fd()), "", dir, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount", Path: path, Err: err}
	}
	return nil
}

// Join moves the calling thread into the mount namespace of a confined process and
// gives what was brought its names there, in place of what had them. The process is
// given by a pidfd, which is never that of another one, as a pid may be. Only a thread
// that ends afterwards may do this.
func (e *Entrance) Join(pidfd int) error {
	if err := joinMounts(pidfd); err != nil {
		return err
	}
	for _, b := range e.binds {
		if err := e.cover(b); err != nil {
			return err
		}
	}
	return nil
}

// joinMounts moves the calling thread into a mount namespace, given by a file of it or by
// the pidfd of a process that is in it (Linux 5.8).
func joinMounts(fd int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // else there is no way into one
		return os.NewSyscallError("unshare", err)
	}
	return os.NewSyscallError("setns", unix.Setns(fd, unix.CLONE_NEWNS))
}

// cover puts a mount in the place of the one that has its name. Whoever has the old
// file open keeps it. The last part of the name is not followed if the guest's keeper
// has made a link of it.
func (e *Entrance) cover(b bind) error {
	path := "/" + b.inside
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) { // it is no mount
		return &os.PathError{Op: "umount", Path: path, Err: err}
	}
	target, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	err = unix.MoveMount(int(b.tree.Fd()), "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		err = &os.PathError{Op: "move_mount", Path: path, Err: err}
	}
	return errors.Join(err, unix.Close(target))
}
