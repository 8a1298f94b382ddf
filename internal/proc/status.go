package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
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

// exitInfo finds out the status of a process that is not our child: as long as
// its parent has not reaped it, /proc has it; afterwards the kernel tells, since
// Linux 6.15, whoever holds a pidfd.
func exitInfo(id ID, pidfd int) Status {
	if s := zombieStatus(id.PID, pidfd); s.Known {
		return s
	}
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: 0}} // POLLHUP is always reported
	if _, err := unix.Poll(fds, reapTimeout); err != nil {
		return Status{}
	}
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	if errno != 0 || info.mask&pidfdInfoExit == 0 {
		return Status{}
	}
	return status(unix.WaitStatus(info.exitCode))
}

// reapTimeout is how long, in milliseconds, a parent may take to reap.
const reapTimeout = 200

// zombieStatus reads the exit_code field, which is 0 for who may not see it, and
// so says nothing unless it is not. The pid is that of the process as long as a
// signal reaches it.
func zombieStatus(pid, pidfd int) Status {
	s, err := readStat(pid)
	if err != nil || s.Field(3) != "Z" || unix.PidfdSendSignal(pidfd, 0, nil, 0) != nil {
		return Status{}
	}
	code, err := strconv.ParseUint(s.Field(52), 10, 32)
	if err != nil || code == 0 && !mayInspect(pid) {
		return Status{}
	}
	return status(unix.WaitStatus(code))
}

// mayInspect reports whether the kernel shows us the private fields of a
// process: those are the ones whose owner we are, or may act for.
func mayInspect(pid int) bool {
	var st unix.Stat_t
	if err := unix.Stat("/proc/"+strconv.Itoa(pid), &st); err != nil {
		return false
	}
	euid := os.Geteuid()
	return euid == 0 || int(st.Uid) == euid
}
