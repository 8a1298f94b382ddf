package jail

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// Void is what all jails share that have none of it: a network with nothing but a loopback
// interface that is down, for those without a network, and for all of them IPC in which
// nothing can be made, and a host name that nobody may change. To make these for each would
// take the kernel a tenth of a start, and to remove them as much again. All that jails could
// reach of each other by it is abstract Unix sockets, and Firecracker has none.
//
// Each is made when it is entered first. The methods may be called from several goroutines.
type Void struct {
	mu  sync.Mutex
	net *os.File
	ipc *os.File // and uts, or own
	uts *os.File
	own bool // whether IPC can't be shared here
}

// enter moves the calling thread into the network.
func (v *Void) enter() (err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.net == nil {
		if v.net, err = proc.NewNetwork(); err != nil {
			return err
		}
	}
	return proc.EnterNetwork(v.net)
}

// separate moves the calling thread away from the host's IPC and host name. Without a Void,
// and where the kernel's settings can't be written, it gets its own of both.
func (v *Void) separate() error {
	const both = unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if v == nil || !v.shares() {
		return os.NewSyscallError("unshare IPC and UTS namespace", unix.Unshare(both))
	}
	return os.NewSyscallError("setns", errors.Join(
		unix.Setns(int(v.ipc.Fd()), unix.CLONE_NEWIPC), unix.Setns(int(v.uts.Fd()), unix.CLONE_NEWUTS)))
}

// shares makes what is shared of IPC and host name, and reports whether there is something.
func (v *Void) shares() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ipc == nil && !v.own {
		v.own = proc.OnThread(v.makeIPC) != nil
	}
	return !v.own
}

// ipcLimits are the settings of an IPC namespace by which nothing can be made in it:
// segments, queues, sets of semaphores, POSIX queues (proc_sys_kernel(5), mq_overview(7)).
var ipcLimits = map[string]string{
	"kernel/shmmni": "0", "kernel/msgmni": "0", "kernel/sem": "0 0 0 0", "fs/mqueue/queues_max": "0",
}

func (v *Void) makeIPC() error {
	if err := unix.Unshare(unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
		return os.NewSyscallError("unshare IPC and UTS namespace", err)
	}
	for name, value := range ipcLimits {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	ipc, err := os.Open("/proc/thread-self/ns/ipc")
	if err != nil {
		return err
	}
	uts, err := os.Open("/proc/thread-self/ns/uts")
	if err != nil {
		return errors.Join(err, ipc.Close())
	}
	v.ipc, v.uts = ipc, uts
	return nil
}

// Close lets go of it. What is in it keeps it.
func (v *Void) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for _, ns := range []**os.File{&v.net, &v.ipc, &v.uts} {
		if *ns != nil {
			errs = append(errs, (*ns).Close())
			*ns = nil
		}
	}
	return errors.Join(errs...)
}
