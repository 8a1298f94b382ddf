package netlinux

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// Permitted reports whether this process may administer the network, in the user
// namespace that it is in: whether it has CAP_NET_ADMIN.
func Permitted() (bool, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // version 3 has 64 capabilities in two words
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return false, failed(errcode.NetworkFailed, "look at", "capabilities", os.NewSyscallError("capget", err))
	}
	return sets[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0, nil
}
