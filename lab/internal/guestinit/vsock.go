package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// vsock is a tool for commands of tests, since busybox has none:
//
//	vsock listen PORT      send back whatever connections send, until it is killed
//	vsock connect PORT     send standard input to the host, print what it answers
func vsock(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: vsock listen|connect PORT")
	}
	port, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	switch args[0] {
	case "listen":
		return listen(fd, uint32(port))
	case "connect":
		return connect(fd, uint32(port))
	}
	return fmt.Errorf("unknown verb %q", args[0])
}

// backlog is how many connections may wait.
const backlog = 16

func listen(fd int, port uint32) error {
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: port}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return os.NewSyscallError("listen", err)
	}
	if _, err := fmt.Fprintln(os.Stdout, "listening"); err != nil {
		return err
	}
	for {
		peer, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("accept", err)
		}
		go func() {
			conn := os.NewFile(uintptr(peer), "vsock")
			_, _ = io.Copy(conn, conn) // what the peer does is its business
			_ = conn.Close()
		}()
	}
}

func connect(fd int, port uint32) error {
	if err := unix.Connect(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: port}); err != nil {
		return os.NewSyscallError("connect", err)
	}
	conn := os.NewFile(uintptr(fd), "vsock")
	defer conn.Close()
	if _, err := io.Copy(conn, os.Stdin); err != nil {
		return err
	}
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return os.NewSyscallError("shutdown", err)
	}
	_, err := io.Copy(os.Stdout, conn)
	return err
}
