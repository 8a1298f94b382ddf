package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// request is one request as it goes over the wire.
func request(path, body string) string {
	return "PUT " + path + " HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

func (l *lab) requests() []string {
	return []string{request("/machine-config", machineConfig()), request("/boot-source", bootSource(l.kernel))}
}

func instanceStart() string { return request("/actions", `{"action_type":"InstanceStart"}`) }

// watch makes an inotify instance for the VM's directory. A program would have
// one for all VMs: closing it is a wait for the kernel of some 10 ms, so that is
// left to discard.
func (v *rawVM) watch() (err error) {
	if v.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC); err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	return nil
}

func puts(v *rawVM, started func()) error     { return v.bootByAPI(false, started) }
func pipeline(v *rawVM, started func()) error { return v.bootByAPI(true, started) }

// bootByAPI starts the VM through its API socket, with all of the configuration
// at once or one request at a time. It calls started when InstanceStart has
// been answered.
func (v *rawVM) bootByAPI(pipelined bool, started func()) (err error) {
	if _, err := unix.InotifyAddWatch(v.inotify, v.dir, unix.IN_CREATE); err != nil {
		return os.NewSyscallError("inotify_add_watch", err)
	}
	if err := v.spawn(); err != nil {
		return err
	}
	conn, err := connect(v.path(socketName), v.inotify)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(conn)) }()
	requests := v.lab.requests()
	if pipelined {
		err = exchange(conn, len(requests), strings.Join(requests, ""))
	} else {
		for _, r := range requests {
			err = errors.Join(err, exchange(conn, 1, r))
		}
	}
	if err == nil {
		err = exchange(conn, 1, instanceStart())
	}
	if err != nil {
		return err
	}
	started()
	return v.awaitMarker()
}

// bootReady starts the VM from its file and asks the API whether it runs, which
// is answered when it does: what a Start that returns then has to wait for.
func (v *rawVM) bootReady(started func()) error {
	if _, err := unix.InotifyAddWatch(v.inotify, v.dir, unix.IN_CREATE); err != nil {
		return os.NewSyscallError("inotify_add_watch", err)
	}
	return v.bootAsking(func(path string) (int, error) { return connect(path, v.inotify) }, started)
}

// bootKnown is bootReady for a fleet.
func (v *rawVM) bootKnown() error { return v.bootAsking(connectLooking, func() {}) }

func (v *rawVM) bootAsking(connect func(path string) (int, error), started func()) (err error) {
	if err := v.spawn("--config-file", v.path(configName)); err != nil {
		return err
	}
	conn, err := connect(v.path(socketName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(conn)) }()
	if err := askRunning(conn); err != nil {
		return err
	}
	started()
	return v.awaitMarker()
}

// lookAgain is the pause between two looks for a socket by who has many to look
// for: an inotify instance for each would be more than a user may have.
const lookAgain = 2 * time.Millisecond

func connectLooking(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	for range connectTimeout / lookAgain {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err == nil {
			return fd, nil
		}
		pause := unix.NsecToTimespec(int64(lookAgain))
		_ = unix.Nanosleep(&pause, nil)
	}
	return 0, errors.Join(os.NewSyscallError("connect", err), unix.Close(fd))
}

func askRunning(conn int) error {
	if _, err := unix.Write(conn, []byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		return os.NewSyscallError("write", err)
	}
	var got []byte
	var buf [4096]byte
	for !bytes.HasSuffix(got, []byte("}")) { // the body is one object
		n, err := unix.Read(conn, buf[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("the API hung up: %w", errors.Join(err, os.ErrClosed))
		}
		got = append(got, buf[:n]...)
	}
	if !bytes.Contains(got, []byte(`"state":"Running"`)) {
		return fmt.Errorf("the VM does not run: %s", got)
	}
	return nil
}

// connectTimeout bounds the wait for the socket of a Firecracker that does not come.
const connectTimeout = 10 * time.Second

// connect tries at once, then at each new file. Between bind and listen the
// socket exists and refuses.
func connect(path string, inotify int) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	deadline := time.Now().Add(connectTimeout)
	for {
		err := unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err == nil {
			return fd, nil
		}
		wait := int(connectTimeout.Milliseconds())
		switch {
		case errors.Is(err, unix.ECONNREFUSED):
			wait = 0
		case !errors.Is(err, unix.ENOENT):
			return 0, errors.Join(os.NewSyscallError("connect", err), unix.Close(fd))
		}
		if time.Now().After(deadline) {
			return 0, errors.Join(fmt.Errorf("connect: %w", os.ErrDeadlineExceeded), unix.Close(fd))
		}
		if err := nextEvent(inotify, wait); err != nil {
			return 0, errors.Join(err, unix.Close(fd))
		}
	}
}

// nextEvent waits for an event, at most so many milliseconds, and takes it.
func nextEvent(inotify, wait int) error {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(inotify), Events: unix.POLLIN}}, wait)
	if errors.Is(err, unix.EINTR) || n == 0 && err == nil {
		return nil
	}
	var buf [4096]byte
	if err == nil {
		_, err = unix.Read(inotify, buf[:])
	}
	return os.NewSyscallError("inotify", err)
}

// exchange sends requests and reads as many answers, none of which may be a refusal.
func exchange(conn, answers int, text string) error {
	if _, err := unix.Write(conn, []byte(text)); err != nil {
		return os.NewSyscallError("write", err)
	}
	var got []byte
	var buf [4096]byte
	for answers > 0 {
		n, err := unix.Read(conn, buf[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("the API hung up: %w", errors.Join(err, os.ErrClosed))
		}
		got = append(got, buf[:n]...)
		for answers > 0 {
			_, rest, whole := bytes.Cut(got, []byte("\r\n\r\n"))
			if !whole {
				break
			}
			if !bytes.HasPrefix(got, []byte("HTTP/1.1 204")) { // an answer without a body
				return fmt.Errorf("the API refused: %s", got)
			}
			got = rest
			answers--
		}
	}
	return nil
}
