package main

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// processes are the commands that run. The first process of a machine has to reap
// everything that ends, its own children or not.
type processes struct {
	mu     sync.Mutex
	exited map[int]chan<- int // by pid
	pids   map[uint64]int     // by the id of the request
}

func newProcesses() *processes {
	p := &processes{exited: make(map[int]chan<- int), pids: make(map[uint64]int)}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	go func() {
		for range ended {
			for p.reap() {
			}
		}
	}()
	return p
}

// start starts a program in a session of its own.
func (p *processes) start(id uint64, args []string, stdout, stderr *os.File) (<-chan int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	p.mu.Lock() // so that it is not reaped before it is known
	defer p.mu.Unlock()
	pid, err := syscall.ForkExec(args[0], args, &syscall.ProcAttr{ //nolint:gosec // running what it is told is its job
		Dir: "/", Env: []string{"PATH=/bin:/sbin", "HOME=/tmp", "TMPDIR=/tmp"},
		Files: []uintptr{null.Fd(), stdout.Fd(), stderr.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, &os.PathError{Op: "run", Path: args[0], Err: err}
	}
	exited := make(chan int, 1)
	p.exited[pid], p.pids[id] = exited, pid
	return exited, nil
}

// reap reports whether something had ended.
func (p *processes) reap() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ws unix.WaitStatus
	pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
	if errors.Is(err, unix.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	if exited, ours := p.exited[pid]; ours {
		exited <- code(ws)
		delete(p.exited, pid)
	}
	return true
}

func code(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// kill ends a command and what it has started.
func (p *processes) kill(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pid, known := p.pids[id]; known && p.exited[pid] != nil {
		_ = unix.Kill(-pid, unix.SIGKILL) // it may have ended
	}
}

// obeySignals shuts down on Ctrl+Alt+Del, and on what busybox's reboot, poweroff
// and halt send.
func obeySignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2)
	how := unix.LINUX_REBOOT_CMD_RESTART
	switch <-signals {
	case unix.SIGUSR1:
		how = unix.LINUX_REBOOT_CMD_HALT
	case unix.SIGUSR2:
		how = unix.LINUX_REBOOT_CMD_POWER_OFF
	}
	unix.Sync()
	_ = unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY, "") // as far as it can be done
	_ = unix.Reboot(how)
}
