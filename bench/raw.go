package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hello"
)

// rawVM is a Firecracker that was started with as little as will do: one pipe
// for its output, and system calls that wait in the kernel rather than in the
// runtime of Go.
type rawVM struct {
	lab     *lab
	dir     string
	tap     string // of its interface, if it has one
	workDir string // of the process; default: ours
	pid     int
	out     int // read end of the pipe

	inotify int // for the arms that wait for the socket
}

func (v *rawVM) path(name string) string { return filepath.Join(v.dir, name) }

const (
	configName = "config.json"
	socketName = "firecracker.sock"
	logName    = "firecracker.log"
)

// prepare makes what Firecracker needs before it starts.
func (v *rawVM) prepare() error {
	if err := os.Mkdir(v.dir, dirMode); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(v.path(configName), v.lab.file(v.tap), fileMode),
		os.WriteFile(v.path(logName), nil, fileMode), // before v1.14 Firecracker does not make it
	)
}

// spawn starts Firecracker.
func (v *rawVM) spawn(more ...string) error {
	return v.run(append([]string{
		v.lab.binary.Path, "--api-sock", v.path(socketName), "--id", filepath.Base(v.dir),
		"--log-path", v.path(logName), "--level", logLevel,
	}, more...)...)
}

// run starts a program with the pipe. Like smartvm it gives it a session of its own,
// which decides whom the scheduler groups it with.
func (v *rawVM) run(args ...string) error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return errors.Join(os.NewSyscallError("open", err), unix.Close(pipe[0]), unix.Close(pipe[1]))
	}
	v.pid, err = v.lab.children.start(v.workDir, args, []uintptr{uintptr(null), uintptr(pipe[1]), uintptr(null)})
	err = errors.Join(err, unix.Close(null), unix.Close(pipe[1]))
	if err != nil {
		return errors.Join(err, unix.Close(pipe[0]))
	}
	v.out = pipe[0]
	return nil
}

// boot starts the VM from its file and waits for the guest.
func (v *rawVM) boot() error {
	if err := v.spawn("--config-file", v.path(configName)); err != nil {
		return err
	}
	return v.awaitMarker()
}

func (v *rawVM) awaitMarker() error {
	var buf [512]byte
	for {
		n, err := unix.Read(v.out, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return os.NewSyscallError("read", err)
		case n == 0:
			log, _ := os.ReadFile(v.path(logName))
			return fmt.Errorf("firecracker ended before its guest spoke: %w\n%s", io.ErrUnexpectedEOF, log)
		case bytes.IndexByte(buf[:n], hello.Marker) >= 0:
			return nil
		}
	}
}

// discard ends the VM, however far it got, and removes its files.
func (v *rawVM) discard() error {
	var errs []error
	if v.pid != 0 {
		errs = append(errs, v.lab.children.kill(v.pid), v.lab.children.reap(v.pid))
		v.pid = 0
	}
	return errors.Join(append(errs, v.remove())...)
}

func (v *rawVM) remove() error {
	errs := []error{os.RemoveAll(v.dir)}
	for _, fd := range []*int{&v.out, &v.inotify} {
		if *fd != 0 {
			errs = append(errs, unix.Close(*fd))
			*fd = 0
		}
	}
	return errors.Join(errs...)
}

// children are the processes that raw arms have started and not reaped.
type children struct {
	mu   sync.Mutex
	pids map[int]bool
	over bool
}

func (c *children) start(dir string, args []string, files []uintptr) (int, error) {
	pid, err := syscall.ForkExec(args[0], args, &syscall.ProcAttr{
		Dir: dir, Env: []string{}, Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", args[0], err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pids == nil {
		c.pids = map[int]bool{}
	}
	c.pids[pid] = true
	if c.over {
		return pid, unix.Kill(pid, unix.SIGKILL)
	}
	return pid, nil
}

// kill sends SIGKILL; the pid can't be anybody else's before it is reaped.
func (c *children) kill(pid int) error {
	return os.NewSyscallError("kill", unix.Kill(pid, unix.SIGKILL))
}

func (c *children) reap(pid int) error {
	c.mu.Lock()
	delete(c.pids, pid) // first, or killAll might hit whoever gets the pid next
	c.mu.Unlock()
	for {
		_, err := unix.Wait4(pid, nil, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("wait4", err)
		}
	}
}

// killAll ends all that is alive and all that is started from now on. Whoever
// started a process still reaps it.
func (c *children) killAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for pid := range c.pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}
