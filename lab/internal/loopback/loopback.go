// Package loopback raises the loopback interface, for programs that are the first of
// their machine.
package loopback

import (
	"os"

	"golang.org/x/sys/unix"
)

// Raise sets lo up; the kernel then gives it its addresses.
func Raise() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("raise lo", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request))
}
