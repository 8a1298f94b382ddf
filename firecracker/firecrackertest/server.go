// Package firecrackertest is a fake Firecracker for tests of what can't be had
// from the real one at will: refusals and hangs at a chosen call. It has the
// API's phases, error shapes and limits; the suite in package firecracker runs
// on it and on the real binary, so that the two can't drift apart.
package firecrackertest

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/smartvm/smartvm/firecracker"
)

// maxConnections is what Firecracker accepts at a time.
const maxConnections = 10

// Options say what the fake does.
type Options struct {
	ID string // of the instance; default "anonymous-instance"
	// Version is the one that GET /version answers; default v1.12.1.
	Version firecracker.Version
	// Refuse maps a call, as in "PUT /drives/rootfs", to the fault that it gets with status 400.
	Refuse map[string]string
	// Hang lists calls that get no answer.
	Hang []string
	// HangUp lists actions that are taken and answered by the end of the connection, as
	// at Firecracker's own end, which does not wait until all calls have their answers.
	HangUp []firecracker.ActionType
}

// Server is a fake Firecracker on a Unix socket. It may be used from several goroutines.
type Server struct {
	options  Options
	listener net.Listener
	workers  sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool
	state    firecracker.InstanceState
	metadata any
	machine  any
	calls    []string
}

// Start listens on socket until [Server.Close].
func Start(ctx context.Context, socket string, opts Options) (*Server, error) {
	if opts.ID == "" {
		opts.ID = "anonymous-instance"
	}
	if opts.Version.IsZero() {
		opts.Version = firecracker.Version{Major: 1, Minor: 12, Patch: 1}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: opts, listener: listener, conns: map[net.Conn]bool{}, state: firecracker.NotStarted,
		machine: firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 128},
	}
	s.workers.Go(s.accept)
	return s, nil
}

// Close stops the fake and closes its connections.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.HangUp()
	s.workers.Wait()
	return err
}

// HangUp closes the connections, as Firecracker's end would.
func (s *Server) HangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// Calls returns what was asked for until now, as in "PUT /drives/rootfs".
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.calls...)
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		s.mu.Lock()
		full := len(s.conns) >= maxConnections
		if !full {
			s.conns[conn] = true
		}
		s.mu.Unlock()
		if full {
			writeBusy(conn)
			_ = conn.Close()
			continue
		}
		s.workers.Go(func() { s.serve(conn) })
	}
}

func (s *Server) serve(conn net.Conn) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
		_ = conn.Close()
	}()
	reader := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(reader)
		if err != nil {
			// At the end of the stream nobody reads this.
			writeUnreadable(conn)
			return
		}
		if r.ContentLength > firecracker.DefaultBodyLimit {
			// Firecracker goes on with the body as if it were a request.
			writeUnreadable(conn)
			continue
		}
		if !s.answer(conn, r) {
			<-s.hungUp(reader)
			return
		}
	}
}

// hungUp waits for the end of a connection whose call gets no answer.
func (s *Server) hungUp(reader *bufio.Reader) <-chan struct{} {
	done := make(chan struct{})
	s.workers.Go(func() {
		defer close(done)
		for {
			if _, err := reader.Discard(1); err != nil {
				return
			}
		}
	})
	return done
}
