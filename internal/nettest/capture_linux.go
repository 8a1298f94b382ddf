package nettest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// kept is how many of the packets that match are kept whole.
const kept = 1000

// Capture counts packets on a link, in both directions.
type Capture struct {
	ns    *Namespace
	iface string
	file  *os.File
	match func(Packet) bool
	id    uint64     // of the frame that Stop sends
	done  chan error // of the reading, which ends with that frame
	count atomic.Int64
	all   atomic.Int64
	first []Packet
	buf   []byte
	aux   []byte
	ended bool
}

// Capture starts to count the packets on a link that match; nil matches all. The
// counting has begun when it returns. Stop has to be called; the test fails if it
// is not.
func (n *Namespace) Capture(tb testing.TB, iface string, match func(Packet) bool) *Capture {
	tb.Helper()
	if match == nil {
		match = func(Packet) bool { return true }
	}
	c := &Capture{ns: n, iface: iface, match: match, id: markers.Add(1), done: make(chan error, 1), buf: make([]byte, 64<<10+18), aux: make([]byte, 256)}
	fd := -1
	err := n.Do(func() (err error) {
		link, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		// No protocol yet: nothing comes before the socket is bound to the link.
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		// 10^5 small packets, each of which is charged with the buffer that holds it.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 512<<20); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: swapped(unix.ETH_P_ALL)})
	})
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		tb.Fatalf("capture on %s: %v", iface, err)
	}
	c.file = os.NewFile(uintptr(fd), "capture on "+iface)
	go func() { c.done <- c.read() }()
	tb.Cleanup(func() {
		if !c.ended {
			tb.Errorf("the capture on %s was never stopped, so it proves nothing", iface)
			_ = c.file.Close()
			tb.Log(<-c.done)
		}
	})
	return c
}

// Count returns how many packets matched so far.
func (c *Capture) Count() int { return int(c.count.Load()) }

// Stop ends the capture and returns the packets that matched, at most the first
// 1000; [Capture.Count] has the number of all. Every packet that was on the link
// before the call is counted: Stop waits for what the kernel is receiving, then for
// a frame of its own to come by, or, on a link that is down, reads the rest. The
// test fails if the kernel dropped packets.
func (c *Capture) Stop(tb testing.TB) []Packet {
	tb.Helper()
	if c.ended {
		return c.first
	}
	c.ended = true
	defer c.file.Close()
	if err := c.finish(); err != nil {
		tb.Fatalf("capture on %s: %v", c.iface, err)
	}
	var stats *unix.TpacketStats
	err := c.control(func(fd int) (err error) {
		stats, err = unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	if stats.Drops > 0 {
		tb.Errorf("the kernel dropped %d of %d packets of the capture on %s", stats.Drops, stats.Packets, c.iface)
	}
	tb.Logf("%d packets on %s, %d matched", c.all.Load(), c.iface, c.count.Load())
	return c.first
}

// finish reads what there is still to read.
func (c *Capture) finish() error {
	link, err := c.ns.nl.LinkByName(c.iface)
	if err == nil && link.Attrs().RawFlags&unix.IFF_RUNNING != 0 {
		if err := c.ns.sendMarker(c.iface, c.id); err != nil {
			return err
		}
		if err := c.file.SetReadDeadline(time.Now().Add(Long)); err != nil {
			return err
		}
		return <-c.done
	}
	// Nothing goes out on a link without a carrier, and nothing comes in.
	if err := c.ns.Do(synchronize); err != nil {
		return err
	}
	if err := c.file.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	if err := <-c.done; !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return c.control(func(fd int) error {
		_, err := c.receive(fd)
		return err
	})
}

func (c *Capture) control(f func(fd int) error) error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = f(int(fd)) }); err != nil {
		return err
	}
	return failure
}

func (c *Capture) read() error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var last bool
	var failure error
	err = raw.Read(func(fd uintptr) bool {
		last, failure = c.receive(int(fd))
		return last || failure != nil
	})
	if err != nil {
		return err
	}
	return failure
}

// receive takes packets until there is none, or the last has come.
func (c *Capture) receive(fd int) (last bool, err error) {
	for !last {
		size, controlSize, _, from, err := unix.Recvmsg(fd, c.buf, c.aux, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN): // said once when the link goes down or away
			continue
		case err != nil:
			return false, fmt.Errorf("receive: %w", err)
		}
		if link, ok := from.(*unix.SockaddrLinklayer); ok {
			last = c.take(c.buf[:size], c.aux[:controlSize], link)
		}
	}
	return true, nil
}

// take counts one packet. It reports whether it was the last.
func (c *Capture) take(b, control []byte, link *unix.SockaddrLinklayer) (last bool) {
	p := Packet{Type: int(swapped(link.Protocol)), Payload: b}
	switch link.Hatype {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		p = parse(b)
	default: // a tunnel: no frames
		p = p.withPayload()
	}
	p.Outgoing = link.Pkttype == unix.PACKET_OUTGOING
	if tag, tagged := stripped(control); tagged {
		p.VLAN = tag
	}
	if id, marked := p.marker(); marked {
		return id == c.id
	}
	c.all.Add(1)
	if c.match(p) {
		c.count.Add(1)
		if len(c.first) < kept {
			p.Payload = append([]byte(nil), p.Payload...)
			c.first = append(c.first, p)
		}
	}
	return false
}

// stripped returns the VLAN tag that the kernel took out of a frame, from the
// struct tpacket_auxdata that comes with it (linux/if_packet.h).
func stripped(control []byte) (tag int, tagged bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20 &&
			binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_VLAN_VALID != 0 {
			return int(binary.NativeEndian.Uint16(m.Data[16:]) & 0xfff), true
		}
	}
	return 0, false
}
