package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// address is what the kernel's argument ip= says about an interface
// (Documentation/admin-guide/nfs/nfsroot.rst). A kernel with IP_PNP obeys it by
// itself; Debian's leaves it to the first processes.
type address struct {
	device              string
	addr, mask, gateway netip.Addr
	resolvers           []netip.Addr
}

// resolvConf is where the link in the root file system leads.
const resolvConf = "/run/resolv.conf"

// configureAddress obeys ip= on the kernel's command line, if it is there.
func configureAddress() error {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	words := strings.Fields(string(line))
	at := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, "ip=") })
	if at < 0 {
		return nil
	}
	a, err := parseAddress(strings.TrimPrefix(words[at], "ip="))
	if err == nil {
		err = a.configure()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", words[at], err)
	}
	return nil
}

// parseAddress reads CLIENT:SERVER:GATEWAY:MASK:HOST:DEVICE:off[:DNS[:DNS]]. Server and
// host are ignored.
func parseAddress(text string) (a address, err error) {
	fields := strings.Split(text, ":")
	if len(fields) < 7 || fields[6] != "off" {
		return a, fmt.Errorf("want the seven fields of a static address, the last of them off")
	}
	a.device = fields[5]
	for _, f := range []struct {
		to   *netip.Addr
		text string
	}{{&a.addr, fields[0]}, {&a.gateway, fields[2]}, {&a.mask, fields[3]}} {
		if *f.to, err = netip.ParseAddr(f.text); err != nil {
			return a, err
		}
	}
	for _, field := range fields[7:] {
		resolver, err := netip.ParseAddr(field)
		if err != nil {
			return a, err
		}
		a.resolvers = append(a.resolvers, resolver)
	}
	return a, nil
}

func (a address) configure() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	for _, step := range []struct {
		name    string
		request uint
		set     func(r *unix.Ifreq) error
	}{
		{"set the address", unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(a.addr.AsSlice()) }},
		{"set the mask", unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(a.mask.AsSlice()) }},
		{"set up", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error {
			r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
			return nil
		}},
	} {
		r, err := unix.NewIfreq(a.device)
		if err == nil {
			err = step.set(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, step.request, r)
		}
		if err != nil {
			return os.NewSyscallError(step.name, err)
		}
	}
	if err := addDefaultRoute(a.gateway); err != nil {
		return os.NewSyscallError("add the default route", err)
	}
	var text strings.Builder
	for _, resolver := range a.resolvers {
		fmt.Fprintf(&text, "nameserver %v\n", resolver)
	}
	return os.WriteFile(resolvConf, []byte(text.String()), 0o644) //nolint:gosec // everybody reads it
}

// addDefaultRoute sends the one message of rtnetlink(7) that is needed.
func addDefaultRoute(gateway netip.Addr) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	const attribute = unix.SizeofRtAttr + 4
	native := binary.NativeEndian
	b := native.AppendUint32(nil, unix.SizeofNlMsghdr+unix.SizeofRtMsg+attribute)
	b = native.AppendUint16(b, unix.RTM_NEWROUTE)
	b = native.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE)
	b = append(b, make([]byte, 8)...)    // sequence number and port
	b = append(b, unix.AF_INET, 0, 0, 0) // family; lengths of destination and source, TOS
	b = append(b, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST)
	b = append(b, make([]byte, 4)...) // flags
	b = native.AppendUint16(b, attribute)
	b = native.AppendUint16(b, unix.RTA_GATEWAY)
	b = append(b, gateway.AsSlice()...)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 { // struct nlmsgerr
		return unix.EBADMSG
	}
	if failure := int32(native.Uint32(answer[unix.SizeofNlMsghdr:])); failure != 0 {
		return unix.Errno(-failure)
	}
	return nil
}
