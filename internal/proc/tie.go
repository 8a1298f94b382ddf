package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/plainfile"
)

// canTie refuses a process that nothing could be tied to.
func (p *Process) canTie() error {
	return p.Control(func(pidfd int) error {
		first, err := IsFirst(pidfd)
		if err == nil && !first {
			err = fmt.Errorf("tie to %s: it is not the first process of a pid namespace", p.id)
		}
		return err
	})
}

// tie has what the calling thread starts be in the pid namespace of p, and so end with it.
func (p *Process) tie() error {
	return p.Control(func(pidfd int) error {
		return os.NewSyscallError("setns", unix.Setns(pidfd, unix.CLONE_NEWPID))
	})
}

// IsFirst reports whether a pidfd is of the first process of a pid namespace below that of
// the mounted /proc. Such a process gets no signal that it does not handle, but for SIGKILL
// and SIGSTOP of processes outside.
func IsFirst(pidfd int) (bool, error) {
	text, err := plainfile.Read("/proc/self/fdinfo/" + strconv.Itoa(pidfd)) // see pidfd_show_fdinfo in the kernel
	if err != nil {
		return false, err
	}
	_, rest, found := bytes.Cut(text, []byte("\nNSpid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	pids := bytes.Fields(line)
	if !found || len(pids) == 0 {
		return false, fmt.Errorf("the kernel does not tell the pids behind a pidfd: %q", text)
	}
	return len(pids) > 1 && string(pids[len(pids)-1]) == "1", nil
}
