package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// rawLinks makes and removes TAPs with as little as will do: three system calls and
// one message for each, on one socket, and one message for the removal of all.
type rawLinks struct {
	socket int
	seq    uint32
	bridge int // index
}

// rawGroup is the group of links that the TAPs are in.
const rawGroup = 0x62656e63

func openRawLinks(bridge int) (*rawLinks, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return &rawLinks{socket: fd, bridge: bridge}, nil
}

func (l *rawLinks) close() error { return unix.Close(l.socket) }

// add makes a TAP that is a port of the bridge and up.
func (l *rawLinks) add(name string) error {
	if err := persistentTAP(name); err != nil {
		return err
	}
	// The kernel finds a link by its name, too.
	return l.exchange(unix.RTM_NEWLINK, unix.IFF_UP,
		attribute(unix.IFLA_IFNAME, append([]byte(name), 0)),
		attribute(unix.IFLA_MASTER, binary.NativeEndian.AppendUint32(nil, uint32(l.bridge))),
		attribute(unix.IFLA_GROUP, binary.NativeEndian.AppendUint32(nil, rawGroup)))
}

// removeAll removes all TAPs that add has made.
func (l *rawLinks) removeAll() error {
	return l.exchange(unix.RTM_DELLINK, 0, attribute(unix.IFLA_GROUP, binary.NativeEndian.AppendUint32(nil, rawGroup)))
}

func persistentTAP(name string) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return os.NewSyscallError("TUNSETIFF", err)
	}
	return os.NewSyscallError("TUNSETPERSIST", unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1))
}

// attribute is a struct rtattr with its value and padding.
func attribute(kind uint16, value []byte) []byte {
	out := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	out = binary.NativeEndian.AppendUint16(out, kind)
	out = append(out, value...)
	for len(out)%unix.RTA_ALIGNTO != 0 {
		out = append(out, 0)
	}
	return out
}

// exchange sends one message about links, a struct nlmsghdr and a struct ifinfomsg
// with attributes, and takes its acknowledgement.
func (l *rawLinks) exchange(kind uint16, flags uint32, attributes ...[]byte) error {
	length := unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	for _, a := range attributes {
		length += len(a)
	}
	l.seq++
	to := binary.NativeEndian
	m := make([]byte, 0, length)
	m = to.AppendUint32(m, uint32(length))
	m = to.AppendUint16(m, kind)
	m = to.AppendUint16(m, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	m = to.AppendUint32(m, l.seq)
	m = to.AppendUint32(m, 0) // sender: the kernel knows
	m = to.AppendUint32(m, unix.AF_UNSPEC)
	m = to.AppendUint32(m, 0) // index: the attributes say which
	m = to.AppendUint32(m, flags)
	m = to.AppendUint32(m, flags) // those that change
	for _, a := range attributes {
		m = append(m, a...)
	}
	if err := unix.Sendto(l.socket, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	return l.acknowledged()
}

func (l *rawLinks) acknowledged() error {
	var buf [4096]byte
	for {
		n, err := unix.Read(l.socket, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return os.NewSyscallError("read", err)
		case n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR:
			return fmt.Errorf("the kernel answers otherwise: %x", buf[:n])
		}
		if code := -int32(binary.NativeEndian.Uint32(buf[unix.SizeofNlMsghdr:])); code != 0 {
			return fmt.Errorf("the kernel refuses: %w", unix.Errno(code))
		}
		return nil
	}
}
