package nettest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// headerSize is that of struct virtio_net_hdr_v1 (linux/virtio_net.h), which
// Firecracker has the kernel put before each frame.
const headerSize = 12

// offloads are those that Firecracker asks for when its guest can use them (from
// linux/if_tun.h): checksums, and segments of TCP and UDP.
const offloads = 0x01 | 0x02 | 0x04 | 0x10

// openTAP opens a TAP of the namespace as Firecracker does; one that isn't there is
// made, until it is closed.
func (n *Namespace) openTAP(name string) (*os.File, error) {
	fd := -1
	err := n.Do(func() (err error) { // a TAP is looked for where /dev/net/tun was opened
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return fmt.Errorf("attach to %s: %w", name, err)
		}
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, headerSize); err != nil {
			return err
		}
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads); err != nil {
			return err
		}
		// Only now: a descriptor without a device can't be polled.
		return unix.SetNonblock(fd, true)
	})
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("open the TAP %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), "tap "+name), nil
}

// AddTAP makes a TAP that stays, down, for tests that have nobody else to make one.
func (n *Namespace) AddTAP(tb testing.TB, name string) {
	tb.Helper()
	file, err := n.openTAP(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	if err := unix.IoctlSetInt(int(file.Fd()), unix.TUNSETPERSIST, 1); err != nil {
		tb.Fatal(err)
	}
}
