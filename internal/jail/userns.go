package jail

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// owner is whom a file belongs to.
type owner struct{ uid, gid uint32 }

// userNamespace returns a user namespace in which the owner of a file is the jail's
// user. A mount can only be told to map owners by one (mount_setattr(2), Linux 5.12),
// and a namespace can only be made with a process in it: ours does nothing, and is
// killed at once.
func (e *Entrance) userNamespace(of owner) (*os.File, error) {
	if user := e.users[of]; user != nil {
		return user, nil
	}
	pid, err := idle(of, e.jail)
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	user, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
	dismiss(pid)
	if err != nil {
		return nil, err
	}
	if e.users == nil {
		e.users = make(map[owner]*os.File)
	}
	e.users[of] = user
	return user, nil
}

// dismiss ends a process that does nothing.
func dismiss(pid int) {
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
