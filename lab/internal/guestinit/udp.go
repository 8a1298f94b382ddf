package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// udp is a tool for commands of tests, since busybox has none:
//
//	udp ADDRESS:PORT TEXT     send it, and print what is answered, a line each, until killed
func udp(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: udp ADDRESS:PORT TEXT")
	}
	to, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return err
	}
	if !to.Addr().Is4() {
		return fmt.Errorf("%v is not an IPv4 address", to.Addr())
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return os.NewSyscallError("connect", err)
	}
	if _, err := unix.Write(fd, []byte(args[1])); err != nil {
		return os.NewSyscallError("send", err)
	}
	for buf := make([]byte, 64<<10); ; {
		n, err := unix.Read(fd, buf)
		if err != nil {
			return os.NewSyscallError("receive", err)
		}
		if _, err := fmt.Fprintf(os.Stdout, "%s\n", buf[:n]); err != nil {
			return err
		}
	}
}
