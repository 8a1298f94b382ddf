package proc

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Status is how a process ended.
type Status struct {
	Known  bool `json:"known"`            // false for a process of another parent on a kernel before 6.15
	Code   int  `json:"code"`             // exit code, when Signal is 0
	Signal int  `json:"signal,omitempty"` // the signal that ended it
}

// Success reports whether the process is known to have ended with exit code 0.
func (s Status) Success() bool { return s.Known && s.Code == 0 && s.Signal == 0 }

// String returns "exit code 1", "signal 9 (SIGKILL)" or "unknown exit status".
func (s Status) String() string {
	switch {
	case !s.Known:
		return "unknown exit status"
	case s.Signal != 0:
		return fmt.Sprintf("signal %d (%s)", s.Signal, unix.SignalName(unix.Signal(s.Signal)))
	default:
		return fmt.Sprintf("exit code %d", s.Code)
	}
}

// reap collects a child that has ended.
func reap(pid int) Status {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err == nil {
			return status(ws)
		}
		if !errors.Is(err, unix.EINTR) {
			return Status{}
		}
	}
}

func status(ws unix.WaitStatus) Status {
	if ws.Signaled() {
		return Status{Known: true, Signal: int(ws.Signal())}
	}
	return Status{Known: true, Code: ws.ExitStatus()}
}

// pidfdInfo is struct pidfd_info in its first published size (linux/pidfd.h).
type pidfdInfo struct {
	mask, cgroup    uint64
	pid, tgid, ppid uint32
	ruid, rgid      uint32
	euid, egid      uint32
	suid, sgid      uint32
	fsuid, fsgid    uint32
	exitCode        int32
}

const (
	pidfdGetInfo  = 0xc040ff0b // _IOWR(0xFF, 11, 64 bytes)
	pidfdInfoExit = 1 << 3     // since Linux 6.15
)

// exitInfo asks the kernel for the status of a process that is not our child.
// The kernel tells once the real parent has reaped it, which is a moment later.
func exitInfo(pidfd int) Status {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: 0}} // POLLHUP is always reported
	if _, err := unix.Poll(fds, 200); err != nil {
		return Status{}
	}
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	if errno != 0 || info.mask&pidfdInfoExit == 0 {
		return Status{}
	}
	return status(unix.WaitStatus(info.exitCode))
}
