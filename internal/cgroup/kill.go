package cgroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kill sends SIGKILL to all that is in a group, and so to what they are forking at
// this moment. The error matches fs.ErrNotExist when there is no such group.
func kill(ctx context.Context, root *os.Root, path string) error {
	err := write(root, path+"/cgroup.kill", "1")
	if errors.Is(err, fs.ErrNotExist) { // no such group, or a kernel before 5.14
		return killEach(ctx, root, path)
	}
	return err
}

// killEach kills one process after the other, until all that are there have got their
// signal. Who has it pending can't fork any more, so there is an end.
func killEach(ctx context.Context, root *os.Root, path string) error {
	killed := map[int]bool{}
	for {
		pids, err := members(root, path)
		if err != nil {
			return err
		}
		pids = slices.DeleteFunc(pids, func(pid int) bool { return killed[pid] })
		if len(pids) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("its processes fork faster than they are killed: %w", context.Cause(ctx))
		}
		for _, pid := range pids {
			if err := killMember(root, path, pid); err != nil {
				return err
			}
			killed[pid] = true
		}
	}
}

// killMember kills the process that has this pid, if that is still one of the group:
// the pid may be in use again, by anybody.
func killMember(root *os.Root, path string, pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, os.NewSyscallError("pidfd_open", err))
	}
	defer func() { _ = unix.Close(pidfd) }()
	now, err := members(root, path) // the pidfd does not change its process
	if err != nil || !slices.Contains(now, pid) {
		return err
	}
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", pid, os.NewSyscallError("pidfd_send_signal", err))
	}
	return nil
}

// members returns the processes of a group.
func members(root *os.Root, path string) ([]int, error) {
	text, err := root.ReadFile(path + "/cgroup.procs")
	if err != nil {
		return nil, err
	}
	var pids []int
	for word := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("cgroup.procs: %w", err)
		}
		if pid == 0 {
			return nil, errors.New("a process of another pid namespace is in the group")
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// awaitEmpty waits until no process is in the group, or the group is gone. The kernel
// wakes those who poll cgroup.events; to wait in the runtime's poller costs neither a
// thread nor an inotify instance, of which there are few.
func awaitEmpty(ctx context.Context, root *os.Root, path string) error {
	f, err := root.OpenFile(path+"/cgroup.events", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		var there bool
		there, failed = populated(int(fd))
		return failed != nil || !there
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("its processes do not end: %w", context.Cause(ctx))
	case isGone(failed):
		return err
	}
	return errors.Join(err, failed)
}

// populated reads an open cgroup.events.
func populated(fd int) (bool, error) {
	buf := make([]byte, 4<<10)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return false, os.NewSyscallError("pread", err)
	}
	values, err := parseFlat(string(bytes.TrimSpace(buf[:n])))
	return values["populated"] != 0, err
}
