//go:build !amd64

package jail

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// idle starts a process that does nothing, in a user namespace of its own: it is traced,
// and so stopped before its first instruction.
func idle(of owner, j *Jail) (pid int, err error) {
	return syscall.ForkExec("/proc/self/exe", []string{"smartvm-owners"}, &syscall.ProcAttr{ //nolint:gosec // it never runs
		Env: []string{},
		Sys: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER, Ptrace: true, Pdeathsig: unix.SIGKILL,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: int(of.uid), HostID: j.UID, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: int(of.gid), HostID: j.GID, Size: 1}},
		},
	})
}
