package nettest

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// markers is the number of the last marker frame. What waits for one ignores those
// of others, which come by on bridges.
var markers atomic.Uint64

// marker returns the number of a marker frame.
func (p Packet) marker() (id uint64, is bool) {
	if p.Type != typeMarker || len(p.Payload) < 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(p.Payload), true
}

// sendMarker sends a marker frame out on a link. By then, everything that the kernel
// was receiving when it was called has been received: closing a packet socket waits
// for that (synchronize_net in the kernel's packet_release).
func (n *Namespace) sendMarker(iface string, id uint64) error {
	return n.Do(func() error {
		link, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		if err := synchronize(); err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		to := &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: swapped(typeMarker), Halen: 6}
		if err := unix.Sendto(fd, binary.BigEndian.AppendUint64(nil, id), 0, to); err != nil {
			return fmt.Errorf("send a frame on %s: %w", iface, err)
		}
		return nil
	})
}

// synchronize returns when every receive handler of the kernel that was running has
// ended.
func synchronize() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// swapped returns a number of two bytes as the kernel's packet sockets want it.
func swapped(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}
