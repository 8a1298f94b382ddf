package proc

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// OpenPeer watches the process that has connected a Unix socket whose other end we have.
// The error matches fs.ErrNotExist when it has ended. Its ID may be unknown but for the
// pid, as we see it. Before Linux 6.5 (SO_PEERPIDFD of unix(7)) it may be another process
// that has the pid by now, if that one has ended: who sees later that the connection is
// still there can rule that out.
func OpenPeer(socket int) (*Process, error) {
	cred, err := unix.GetsockoptUcred(socket, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if cred.Pid <= 0 {
		return nil, errors.New("the process at the other end is in another pid namespace")
	}
	pidfd, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	switch {
	case errors.Is(err, unix.ENOPROTOOPT):
		pidfd, err = openPID(int(cred.Pid))
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL): // before Linux 6.16, of one that has been reaped
		err = errGone
	default:
		err = os.NewSyscallError("getsockopt", err)
	}
	if err != nil {
		return nil, err
	}
	id := ID{PID: int(cred.Pid), BootID: BootID()}
	if hasInodes() { // else /proc would have to be of our pid namespace
		if id, err = identify(id.PID, pidfd, true); err != nil {
			return nil, errors.Join(err, unix.Close(pidfd))
		}
	}
	return watch(id, pidfd, false)
}
