package nettest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// Server answers each line of a connection, or each datagram, with the address
// that it came from, a blank and what was in it.
type Server struct {
	addr   netip.AddrPort
	closer io.Closer

	mu    sync.Mutex
	peers []netip.AddrPort
	conns map[net.Conn]bool // open ones; nil once the server is closed
	wait  sync.WaitGroup
}

// Serve starts a server in the namespace, such as Serve(t, "tcp", "0.0.0.0:80"). It
// is closed at the end of the test. Port 0 lets the kernel choose.
func (n *Namespace) Serve(tb testing.TB, network, addr string) *Server {
	tb.Helper()
	s := &Server{conns: map[net.Conn]bool{}}
	err := n.Do(func() error {
		var config net.ListenConfig
		switch network {
		case "udp":
			conn, err := config.ListenPacket(context.Background(), network, addr)
			if err != nil {
				return err
			}
			s.closer, s.addr = conn, addrPort(conn.LocalAddr())
			s.wait.Go(func() { s.datagrams(conn) })
		default:
			listener, err := config.Listen(context.Background(), network, addr)
			if err != nil {
				return err
			}
			s.closer, s.addr = listener, addrPort(listener.Addr())
			s.wait.Go(func() { s.accept(listener) })
		}
		return nil
	})
	if err != nil {
		tb.Fatal("serve: ", err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Addr returns where the server listens.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Peers returns where connections and datagrams came from, in their order.
func (s *Server) Peers() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]netip.AddrPort(nil), s.peers...)
}

// Close ends the server and its connections.
func (s *Server) Close() {
	_ = s.closer.Close()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wait.Wait()
}

func (s *Server) met(peer netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers = append(s.peers, peer)
}

func (s *Server) datagrams(conn net.PacketConn) {
	buf := make([]byte, 64<<10)
	for {
		size, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // an ICMP error that an earlier answer met
			continue
		}
		s.met(addrPort(from))
		_, _ = conn.WriteTo(fmt.Appendf(nil, "%s %s", addrPort(from), buf[:size]), from)
	}
}

func (s *Server) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		s.met(addrPort(conn.RemoteAddr()))
		s.mu.Lock()
		if s.conns == nil {
			_ = conn.Close()
		} else {
			s.conns[conn] = true
			s.wait.Go(func() { s.lines(conn) })
		}
		s.mu.Unlock()
	}
}

func (s *Server) lines(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.Copy(conn, strings.NewReader(addrPort(conn.RemoteAddr()).String()+" "+line)); err != nil {
			return
		}
	}
}

func addrPort(addr net.Addr) netip.AddrPort {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return unmapped(a.AddrPort())
	case *net.UDPAddr:
		return unmapped(a.AddrPort())
	}
	return netip.AddrPort{}
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
