package box

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/smartvm/smartvm/lab/internal/link"
)

// Streams are what a command reads and writes. Nil is nothing.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Sizes are new sizes of the terminal, for a command that has one.
	Sizes <-chan link.Size
}

// Run runs a command in the machine and returns its exit code. Before the next one
// everything is killed that it left behind.
func (m *Machine) Run(c link.Command, s Streams) (int, error) {
	if err := m.conn.SendJSON(link.Run, c); err != nil {
		return 0, m.explain(err)
	}
	done := make(chan struct{})
	defer close(done)
	go m.feed(s, done)
	for {
		kind, payload, err := m.conn.Receive()
		if err != nil {
			return 0, m.explain(err)
		}
		switch kind {
		case link.Stdout:
			err = writeTo(s.Stdout, payload)
		case link.Stderr:
			err = writeTo(s.Stderr, payload)
		case link.Failed:
			return 0, errors.New(string(payload))
		case link.Exit:
			return exitCode(payload)
		default:
			err = fmt.Errorf("the machine sent a frame of kind %d", kind)
		}
		if err != nil {
			return 0, err
		}
	}
}

func writeTo(w io.Writer, p []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(p)
	return err
}

func exitCode(payload []byte) (int, error) {
	var ended link.Ended
	if err := json.Unmarshal(payload, &ended); err != nil {
		return 0, fmt.Errorf("the machine sent %q: %w", payload, err)
	}
	return ended.Code, nil
}

// feed sends input and sizes until the command has ended. What can't be sent is
// lost with the machine, which the receiver finds out.
func (m *Machine) feed(s Streams, done <-chan struct{}) {
	input := make(chan []byte)
	if s.Stdin == nil {
		_ = m.conn.Send(link.StdinEnd, nil)
	} else {
		go readAll(s.Stdin, input, done)
	}
	for {
		select {
		case <-done:
			return
		case size := <-s.Sizes:
			_ = m.conn.SendJSON(link.Resize, size)
		case p, more := <-input:
			if !more {
				_ = m.conn.Send(link.StdinEnd, nil)
				input = nil
				continue
			}
			_ = m.conn.Send(link.Stdin, p)
		}
	}
}

// readAll sends what it reads until the end. A read that is under way when the
// command ends is given up: nobody can interrupt one of a terminal.
func readAll(r io.Reader, to chan<- []byte, done <-chan struct{}) {
	defer close(to)
	for {
		buf := make([]byte, 32<<10)
		n, err := r.Read(buf)
		if n > 0 {
			select {
			case to <- buf[:n]:
			case <-done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}
