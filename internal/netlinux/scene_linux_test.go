package netlinux_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/netplan"
)

const (
	roleVar = "SMARTVM_TEST_ROLE" // what this process is instead of a test
	mark    = "smartvm 0123456789ab br0 /run/user dir"
	foreign = "smartvm ba9876543210 br0 /run/other"
)

// roles are what processes do that a test starts besides itself.
var roles = map[string]func(args []string) error{
	"add tap and die": addTAPAndDie,
	"count":           countUnderLock,
	"hold and wait":   holdLock,
	"refused":         tryEverything,
	"no tables":       tryTables,
	"no tun":          addTAPWithoutDriver,
}

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleVar)]; ok {
		if err := role(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play starts this binary in a role, in the namespace of the caller.
func play(tb testing.TB, role string, args ...string) *exec.Cmd {
	tb.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

func open(tb testing.TB) *netlinux.Host {
	tb.Helper()
	h, err := netlinux.Open()
	must(tb, err)
	tb.Cleanup(func() { must(tb, h.Close()) })
	return h
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func bridge(name string) netplan.Bridge {
	return netplan.Bridge{Name: name, Addr: netip.MustParsePrefix("172.30.0.1/24"), MTU: 1400}
}

func addBridge(tb testing.TB, h *netlinux.Host, name string) int {
	tb.Helper()
	index, err := h.AddBridge(bridge(name), mark)
	must(tb, err)
	return index
}

// addPort makes a TAP that is an isolated port of the bridge.
func addPort(tb testing.TB, h *netlinux.Host, name string, to int) int {
	tb.Helper()
	index, err := h.AddTAP(name, 0)
	must(tb, err)
	must(tb, h.AttachTAP(netlinux.Port{Index: index, Bridge: to, MTU: 1400, Mark: mark, Isolated: true}))
	return index
}

// openTAP opens a TAP as Firecracker does; it makes one that is not there.
func openTAP(tb testing.TB, name string) *os.File {
	tb.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	must(tb, err)
	request, err := unix.NewIfreq(name)
	must(tb, err)
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	must(tb, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	f := os.NewFile(uintptr(fd), name)
	tb.Cleanup(func() { _ = f.Close() })
	return f
}

// ether writes a broadcast frame with the given text to a TAP.
func ether(tb testing.TB, tap *os.File, from byte, text string) {
	tb.Helper()
	const virtioHeader = 10
	frame := make([]byte, virtioHeader, 128)
	frame = append(frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, from, 0x88, 0xb5)
	frame = append(frame, text...)
	if _, err := tap.Write(append(frame, make([]byte, 60)...)); err != nil {
		tb.Fatal(err)
	}
}

// nextText returns the text of the next frame of [ether] that comes out of a TAP.
func nextText(tb testing.TB, tap *os.File) string {
	tb.Helper()
	must(tb, tap.SetReadDeadline(time.Now().Add(10*time.Second)))
	for buf := make([]byte, 2048); ; {
		n, err := tap.Read(buf)
		must(tb, err)
		if n > 24 && buf[22] == 0x88 && buf[23] == 0xb5 {
			return string(bytes.TrimRight(buf[24:n], "\x00"))
		}
	}
}

// look returns a link as the library sees it; nil if there is none.
func look(tb testing.TB, name string) netlink.Link {
	tb.Helper()
	l, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	must(tb, err)
	return l
}

// someLink makes a link of somebody else that is up.
func someLink(tb testing.TB, name, addr string, mtu int) netlink.Link {
	tb.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	must(tb, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer-" + name, PeerMTU: uint32(mtu)}))
	must(tb, netlink.LinkSetUp(look(tb, "peer-"+name)))
	l := look(tb, name)
	must(tb, netlink.LinkSetUp(l))
	if addr != "" {
		must(tb, netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(addr)}))
	}
	return l
}

func ipNet(text string) *net.IPNet {
	p := netip.MustParsePrefix(text)
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// eventually waits until something is so.
func eventually(tb testing.TB, what string, so func() bool) {
	tb.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("in vain: ", what)
		}
	}
}

// flood sends UDP datagrams.
func flood(to string, n int) error {
	conn, err := net.Dial("udp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	for range n {
		if _, err := conn.Write([]byte("flood")); err != nil {
			return err
		}
	}
	return nil
}
