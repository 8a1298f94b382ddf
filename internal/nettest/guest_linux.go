package nettest

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// GuestConfig is what a guest is told about its network.
type GuestConfig struct {
	Host    *Namespace // where the TAP is; default: that of the process
	TAP     string     // it has to be there
	MAC     string     // "02:00:00:00:00:01"
	Addr    string     // with the prefix's length: "172.30.0.2/24"; default: none
	Gateway string     // of the default route; default: none
	MTU     int        // default 1500
}

// Guest stands in for a microVM with a Linux in it: a namespace with the link eth0
// whose frames come from and go to a TAP of the host, opened as Firecracker does.
// The namespace's own stack is the guest's: probes from it are the guest's probes.
type Guest struct {
	*Namespace

	MAC  MAC
	Addr netip.Addr

	host, eth0 *os.File // the two TAPs, as the VMM has them
	passed     chan uint64
	pumps      sync.WaitGroup
	close      sync.Once
}

// NewGuest starts a guest. It is stopped at the end of the test.
func NewGuest(tb testing.TB, c GuestConfig) *Guest {
	tb.Helper()
	if c.Host == nil {
		c.Host = Host(tb)
	}
	c.Host.Link(tb, c.TAP) // or opening would make it
	mac, err := net.ParseMAC(c.MAC)
	if err != nil {
		tb.Fatal(err)
	}
	g := &Guest{Namespace: NewNamespace(tb), MAC: MAC(mac), passed: make(chan uint64, 16)}
	if g.host, err = c.Host.openTAP(c.TAP); err == nil {
		g.eth0, err = g.openTAP("eth0")
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(g.Close)
	eth0 := g.Link(tb, "eth0")
	if err := g.nl.LinkSetHardwareAddr(eth0, mac); err != nil {
		tb.Fatal(err)
	}
	if c.MTU != 0 {
		if err := g.nl.LinkSetMTU(eth0, c.MTU); err != nil {
			tb.Fatal(err)
		}
	}
	// A namespace's router solicitations and the like would be frames that nobody asked for.
	g.SetSysctl(tb, "net/ipv6/conf/eth0/disable_ipv6", "1")
	if c.Addr != "" {
		g.AddAddr(tb, "eth0", c.Addr)
		g.Addr = netip.MustParsePrefix(c.Addr).Addr()
	}
	g.Up(tb, "eth0")
	if c.Gateway != "" {
		g.AddRoute(tb, "0.0.0.0/0", c.Gateway)
	}
	g.pumps.Go(func() { g.pump(g.host, g.eth0) })
	g.pumps.Go(func() { g.pump(g.eth0, g.host) })
	return g
}

// Close stops the guest, as if its VMM had died: the TAP stays and has no carrier.
func (g *Guest) Close() {
	g.close.Do(func() {
		_ = g.host.Close()
		if g.eth0 != nil {
			_ = g.eth0.Close()
		}
		g.pumps.Wait()
	})
}

// pump carries frames, with what the kernel says about their checksums and
// segments, until one of the TAPs is gone. A frame that a TAP does not take, since
// it is down, is lost, as on a cable.
func (g *Guest) pump(from, to *os.File) {
	buf := make([]byte, headerSize+64<<10)
	for {
		size, err := from.Read(buf)
		if err != nil {
			return
		}
		if id, marked := parse(buf[headerSize:size]).marker(); marked {
			if from == g.eth0 {
				g.passed <- id
			}
			continue
		}
		_, _ = to.Write(buf[:size])
	}
}

// Flush returns when all that the guest's stack has sent so far is in the host's stack.
func (g *Guest) Flush(tb testing.TB) {
	tb.Helper()
	id := markers.Add(1)
	if err := g.sendMarker("eth0", id); err != nil {
		tb.Fatal("flush: ", err)
	}
	timeout := time.After(Long)
	for {
		select {
		case got := <-g.passed:
			if got == id {
				return
			}
		case <-timeout:
			tb.Fatal("the guest's frames don't get through")
		}
	}
}

// Send puts a frame into the host's TAP, past the guest's stack, as a hostile guest
// can. The host's stack has dealt with it when Send returns, and with what it causes
// on the way through bridges and routes.
func (g *Guest) Send(tb testing.TB, f Frame) {
	tb.Helper()
	if _, err := g.host.Write(append(make([]byte, headerSize), f.Bytes()...)); err != nil {
		tb.Fatal("send a frame: ", err)
	}
}

// Flood sends n small UDP datagrams from the guest to an address outside of its
// network, as fast as the host takes them. The host has dealt with all of them when
// Flood returns.
func (g *Guest) Flood(tb testing.TB, n int, gateway MAC, to netip.AddrPort) {
	tb.Helper()
	packet := UDP(netip.AddrPortFrom(g.Addr, 40000), to, []byte("flood"))
	frame := append(make([]byte, headerSize), Frame{To: gateway, From: g.MAC, Type: TypeIPv4, Payload: packet}.Bytes()...)
	for i := range n {
		if _, err := g.host.Write(frame); err != nil {
			tb.Fatalf("datagram %d of the flood: %v", i, err)
		}
	}
}

// Resolve returns the MAC that the guest finds for an address by ARP, or fails the test.
func (g *Guest) Resolve(tb testing.TB, addr string) MAC {
	tb.Helper()
	ip := netip.MustParseAddr(addr)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(Long); time.Now().Before(deadline); <-ticker.C {
		_ = g.Do(func() error { // any packet makes the kernel ask
			conn, err := new(net.Dialer).DialContext(context.Background(), "udp", netip.AddrPortFrom(ip, 9).String())
			if err == nil {
				_, err = conn.Write([]byte("?"))
				_ = conn.Close()
			}
			return err
		})
		neighbours, err := g.nl.NeighList(g.Link(tb, "eth0").Attrs().Index, netlink.FAMILY_V4)
		if err != nil {
			tb.Fatal(err)
		}
		for _, neighbour := range neighbours {
			if bytes.Equal(neighbour.IP.To4(), ip.AsSlice()) && len(neighbour.HardwareAddr) == len(MAC{}) {
				return MAC(neighbour.HardwareAddr)
			}
		}
	}
	tb.Fatalf("nobody answers to ARP for %s", addr)
	return MAC{}
}
