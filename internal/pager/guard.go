package pager

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// guard has the kernel kill Firecracker when this process ends, by whatever, and nobody
// else is left to notice. A pipe does it: its write end is ours alone, so that it closes
// with us, and the read end asks for a signal to Firecracker when something happens to it
// (F_SETOWN, F_SETSIG and O_ASYNC of fcntl(2)). For that to be sent somebody has to keep
// the read end open when we no longer can: it lies in the connection to Firecracker, which
// keeps its end for as long as it lives and never receives anything from it.
//
// The kernel sends the signal if we may send it: as root, or as the user that Firecracker
// runs as. One process it does not reach is the first one of a pid namespace, which
// is spared such signals. So a Firecracker that gets a pid namespace is not the first in it:
// its server is, see [Launch], and when that ends the kernel kills all in the namespace.
type guard struct{ ours *os.File }

var (
	// errHungUp is about a process that has closed its end of the connection.
	errHungUp = errors.New("it has closed the connection")
	// errUnguarded is about a Firecracker that has done so and lives on.
	errUnguarded = fmt.Errorf("%w, as Firecracker before v1.12 does, and so could not be ended with this server", errHungUp)
)

// arm guards a process that is at the other end of conn.
func (g *guard) arm(conn *net.UnixConn, process *proc.Process) error {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	g.ours = os.NewFile(uintptr(ends[1]), "guard")
	err := process.Control(func(pidfd int) error { return tell(ends[0], process.ID().PID, pidfd) })
	if err == nil {
		// A byte goes with it, or the descriptor would not.
		_, _, err = conn.WriteMsgUnix([]byte{0}, unix.UnixRights(ends[0]), nil)
	}
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		err = errUnguarded
	}
	if err = errors.Join(err, os.NewSyscallError("close", unix.Close(ends[0]))); err != nil {
		return fmt.Errorf("guard %s: %w", process.ID(), err)
	}
	return nil
}

// tell has the end of a pipe kill a process when the other end closes.
func tell(end, pid, pidfd int) error {
	first, err := proc.IsFirst(pidfd)
	if err != nil {
		return err
	}
	if first {
		return errors.New("it is the first process of a pid namespace, and so not reached by the kernel's signal")
	}
	for _, set := range []struct{ command, value int }{
		{unix.F_SETOWN, pid},
		{unix.F_SETSIG, int(unix.SIGKILL)},
		{unix.F_SETFL, unix.O_NONBLOCK | unix.O_ASYNC},
	} {
		if _, err := unix.FcntlInt(uintptr(end), set.command, set.value); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	// The kernel has looked the pid up, and keeps the process. If that can still be sent
	// signals, its pid was nobody else's.
	return os.NewSyscallError("pidfd_send_signal", unix.PidfdSendSignal(pidfd, 0, nil, 0))
}

// close kills Firecracker, unless it is gone.
func (g *guard) close() {
	if g.ours != nil {
		_ = g.ours.Close()
	}
}
