package proc

import (
	"errors"
	"math"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a process that was started a moment ago. Nobody but us reaps it, so its pid is
// its own.
type child struct{ pid, pidfd int }

// nowhere is the pidfd of a child that was not opened yet.
const nowhere = -1

func fork(s Spec) (child, error) {
	born := child{pidfd: nowhere}
	sys := &syscall.SysProcAttr{Setsid: true, PidFD: &born.pidfd, Cloneflags: s.Namespaces}
	if s.Tied {
		sys.Pdeathsig = unix.SIGKILL
	}
	if s.Cgroup != nil {
		sys.UseCgroupFD, sys.CgroupFD = true, int(s.Cgroup.Fd())
	}
	if u := s.User; u != nil {
		sys.Credential = &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}
	}
	// Not os.StartProcess, which makes a second pidfd for itself.
	pid, err := syscall.ForkExec(s.Path, append([]string{s.Path}, s.Args...), &syscall.ProcAttr{
		Dir:   s.Dir,
		Env:   append([]string{}, s.Env...), // nil would mean ours
		Files: []uintptr{s.Stdin.Fd(), s.Stdout.Fd(), s.Stderr.Fd()},
		Sys:   sys,
	})
	runtime.KeepAlive(s)
	if err != nil {
		return child{}, &os.PathError{Op: "fork/exec", Path: s.Path, Err: err}
	}
	born.pid = pid
	return born, nil
}

// forkHere forks on a thread that is changed for it, and does nothing else afterwards.
func forkHere(s Spec) (born child, err error) {
	if s.Closed {
		if err := closeOthers(); err != nil {
			return child{}, err
		}
	}
	if born, err = fork(s); err != nil {
		return child{}, err
	}
	if err := born.limit(s); err != nil {
		return child{}, errors.Join(err, abandon(born.pid))
	}
	if s.Closed {
		born.pidfd = nowhere // for all other threads
	}
	return born, nil
}

// closeOthers gives the calling thread a table of open files of its own, in which all but
// the standard ones are closed when a program is executed. As long as the thread lives,
// nothing that is closed elsewhere is let go of, such as a lock; in a child it is so as
// well until it executes its program. To empty the table would not do: Go's runtime may
// use its files from any thread.
//
// Whoever has a file open that no child may have holds the lock for forks.
func closeOthers() error {
	const first, flags = 3, unix.CLOSE_RANGE_UNSHARE | unix.CLOSE_RANGE_CLOEXEC
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	return os.NewSyscallError("close_range", unix.CloseRange(first, math.MaxUint32, flags))
}

// limit sets the limits of a child that runs as another user. To do so takes
// CAP_SYS_RESOURCE, which many containers have not, or the user's own real ids
// (prlimit(2)): the calling thread takes these, and stays root in effect.
func (c child) limit(s Spec) error {
	if len(s.Limits) == 0 {
		return nil
	}
	const same = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(s.User.GID), same, same); errno != 0 {
		return os.NewSyscallError("setresgid", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(s.User.UID), same, same); errno != 0 {
		return os.NewSyscallError("setresuid", errno)
	}
	for _, l := range s.Limits {
		if err := l.set(c.pid); err != nil {
			return err
		}
	}
	return nil
}

// raise makes a process that is watched of a child, or ends it.
func (c child) raise(s Spec) (*Process, error) {
	p, err := c.identify()
	if err != nil {
		return nil, errors.Join(err, abandon(c.pid))
	}
	if s.Restricted {
		p.filter = 1
	}
	return p, nil
}

func (c child) identify() (*Process, error) {
	var err error
	if c.pidfd == nowhere { // its thread has closed it, or the kernel has none
		if c.pidfd, err = openPID(c.pid); err != nil {
			return nil, err
		}
	}
	id, err := identify(c.pid, c.pidfd, hasInodes())
	if err != nil {
		return nil, errors.Join(err, unix.Close(c.pidfd))
	}
	return watch(id, c.pidfd, true)
}

// abandon ends a child that can't be watched.
func abandon(pid int) error {
	err := unix.Kill(pid, unix.SIGKILL)
	_ = reap(pid)
	return os.NewSyscallError("kill", err)
}
