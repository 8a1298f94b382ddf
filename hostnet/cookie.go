package hostnet

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// namespace returns the cookie of this process's network namespace, which the kernel
// never gives to another one (Linux 5.14, socket(7)). Before, it is the number of the
// namespace's inode, which it gives again.
func namespace() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, failed(errcode.NetworkFailed, "look at", "network namespace", os.NewSyscallError("socket", err))
	}
	defer func() { _ = unix.Close(fd) }()
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) {
		var stat unix.Stat_t
		err = unix.Stat("/proc/thread-self/ns/net", &stat)
		cookie = stat.Ino
	}
	if err != nil {
		return 0, failed(errcode.NetworkFailed, "look at", "network namespace", err)
	}
	return cookie, nil
}
