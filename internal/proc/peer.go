package proc

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Peer returns which process has connected a Unix socket whose other end we have, as it
// was at that moment. Before Linux 6.5 (SO_PEERPIDFD of unix(7)) only its pid is known, so
// that it may be another process by now if that one has ended: who has seen no end of the
// connection since can rule that out.
func Peer(socket int) (ID, error) {
	cred, err := unix.GetsockoptUcred(socket, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return ID{}, os.NewSyscallError("getsockopt", err)
	}
	if cred.Pid <= 0 {
		return ID{}, errors.New("the process at the other end is in another pid namespace")
	}
	pidfd, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	switch {
	case errors.Is(err, unix.ENOPROTOOPT):
		pidfd, err = openPID(int(cred.Pid))
	case errors.Is(err, unix.ESRCH): // before Linux 6.16, of a process that has been reaped
		err = errGone
	default:
		err = os.NewSyscallError("getsockopt", err)
	}
	if err != nil {
		return ID{}, err
	}
	defer func() { _ = unix.Close(pidfd) }()
	return identify(int(cred.Pid), pidfd, hasInodes())
}
