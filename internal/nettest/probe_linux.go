package nettest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Verdict is what became of a probe.
type Verdict string

// Verdicts.
const (
	Reached     Verdict = "reached"     // it was answered
	Refused     Verdict = "refused"     // by a TCP reset, or by "port unreachable"
	Unreachable Verdict = "unreachable" // no route, or somebody said that there is none or that it is prohibited
	Silent      Verdict = "silent"      // nothing came back in time
)

// How long an answer is waited for.
const (
	// Short is for what is expected to stay silent: it has to be waited for.
	Short = 400 * time.Millisecond
	// Long is for what is expected to be answered, however busy the machine is.
	Long = 20 * time.Second
)

// Probe is a try to reach a [Server].
type Probe struct {
	Network string        // "tcp", "udp", or "icmp" for an echo request to an address
	To      string        // "192.0.2.1:80"; without a port for icmp
	From    string        // local address and port, "192.0.2.2:0"; default: as the kernel likes
	Size    int           // bytes to send and to get back; default: a few
	Timeout time.Duration // default [Short]
}

// Outcome is the end of a probe.
type Outcome struct {
	Verdict Verdict
	Seen    netip.AddrPort // where the probe came from for the server; not set for icmp
	Err     error          // why it was not reached, for people
}

// String says it for people.
func (o Outcome) String() string {
	if o.Verdict == Reached {
		return fmt.Sprintf("%s as %s", o.Verdict, o.Seen)
	}
	return fmt.Sprintf("%s (%v)", o.Verdict, o.Err)
}

// Probe tries, and returns what came of it; that nothing is reached is no failure.
func (n *Namespace) Probe(p Probe) Outcome {
	if p.Timeout == 0 {
		p.Timeout = Short
	}
	deadline := time.Now().Add(p.Timeout)
	if p.Network == "icmp" {
		return outcome(netip.AddrPort{}, n.ping(p, deadline))
	}
	conn, err := n.dial(p)
	if err != nil {
		return outcome(netip.AddrPort{}, err)
	}
	defer func() { _ = conn.Close() }()
	return outcome(ask(conn, p, deadline))
}

// Reach fails the test unless the server is reached; patience is [Long]. It
// returns where the probe came from for the server.
func (n *Namespace) Reach(tb testing.TB, network, to string) netip.AddrPort {
	tb.Helper()
	got := n.Probe(Probe{Network: network, To: to, Timeout: Long})
	if got.Verdict != Reached {
		tb.Errorf("%s %s: %s, want it reached", network, to, got)
	}
	return got.Seen
}

// Block fails the test if the server is reached within [Short].
func (n *Namespace) Block(tb testing.TB, network, to string) {
	tb.Helper()
	if got := n.Probe(Probe{Network: network, To: to}); got.Verdict == Reached {
		tb.Errorf("%s %s: %s, want it blocked", network, to, got)
	}
}

// Conn is an open connection, or a connected socket of UDP, to a [Server].
type Conn struct {
	net.Conn

	probe Probe
}

// Open connects to a server, or fails the test. The connection is closed at its end.
func (n *Namespace) Open(tb testing.TB, network, to string) *Conn {
	tb.Helper()
	p := Probe{Network: network, To: to, Timeout: Long}
	conn, err := n.dial(p)
	if err != nil {
		tb.Fatalf("open %s %s: %v", network, to, err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return &Conn{conn, p}
}

// Ask sends something over the open connection and waits for the answer. A
// connection of TCP that stayed silent is of no use afterwards.
func (c *Conn) Ask(timeout time.Duration) Outcome {
	return outcome(ask(c.Conn, c.probe, time.Now().Add(timeout)))
}

func (n *Namespace) dial(p Probe) (conn net.Conn, err error) {
	dialer := net.Dialer{Timeout: p.Timeout}
	if p.From != "" {
		from, err := netip.ParseAddrPort(p.From)
		if err != nil {
			return nil, err
		}
		dialer.LocalAddr = net.TCPAddrFromAddrPort(from)
		if p.Network == "udp" {
			dialer.LocalAddr = net.UDPAddrFromAddrPort(from)
		}
	}
	err = n.Do(func() error {
		conn, err = dialer.DialContext(context.Background(), p.Network, p.To)
		return err
	})
	return conn, err
}

var asked atomic.Uint64

// ask sends a line that was never sent before and waits for it to come back. A
// datagram is sent again now and then, since it may be lost.
func ask(conn net.Conn, p Probe, deadline time.Time) (seen netip.AddrPort, err error) {
	line := fmt.Sprintf("question %d of %d", asked.Add(1), os.Getpid())
	line += strings.Repeat(".", max(0, p.Size-len(line)-1)) + "\n"
	pause := p.Timeout
	if p.Network == "udp" {
		pause = Short / 4
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		if err := conn.SetDeadline(earlier(deadline, time.Now().Add(pause))); err != nil {
			return seen, err
		}
		if _, err := conn.Write([]byte(line)); err != nil {
			return seen, err
		}
		for {
			text, err := r.ReadString('\n')
			if err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline) {
					break // ask again
				}
				return seen, err
			}
			from, rest, _ := strings.Cut(text, " ")
			if rest == line {
				return netip.ParseAddrPort(from)
			}
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func outcome(seen netip.AddrPort, err error) Outcome {
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return Outcome{Reached, seen, nil}
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return Outcome{Refused, seen, err}
	case errors.As(err, &timeout) && timeout.Timeout():
		return Outcome{Silent, seen, err}
	}
	return Outcome{Unreachable, seen, err}
}

// ping sends an echo request, as ping does, and waits for its answer.
func (n *Namespace) ping(p Probe, deadline time.Time) error {
	addr, err := netip.ParseAddr(p.To)
	if err != nil {
		return err
	}
	var conn *net.IPConn
	err = n.Do(func() (err error) {
		conn, err = net.DialIP("ip4:icmp", nil, &net.IPAddr{IP: addr.AsSlice()})
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	request := make([]byte, max(8, p.Size))
	request[0] = 8 // echo request; 0 is the reply
	binary.BigEndian.PutUint32(request[4:], uint32(asked.Add(1)))
	binary.BigEndian.PutUint16(request[2:], checksum(request))
	if _, err := conn.Write(request); err != nil {
		return err
	}
	for buf := make([]byte, 64<<10); ; {
		size, _, err := conn.ReadFrom(buf) // without the head of the IP packet
		if err != nil {
			return err
		}
		if size == len(request) && buf[0] == 0 && bytes.Equal(buf[4:size], request[4:]) {
			return nil
		}
	}
}
