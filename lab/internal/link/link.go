// Package link is what the lab program and the first process of the emulated
// machine say to each other: frames of a kind, a length and that many bytes, over
// one virtio-serial port. One stream for all keeps the order, so that the exit of
// a command comes after the last of its output.
package link

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Kind says what a frame is.
type Kind byte

// Kinds of frames. The machine sends Hello first.
const (
	Hello    Kind = iota + 1 // it is up; JSON of [Greeting]
	Setup                    // to the machine: JSON of [Settings]
	Ready                    // Setup has been done; nothing
	Run                      // to the machine: JSON of [Command]; one at a time
	Stdin                    // to the machine: bytes of the command's standard input
	StdinEnd                 // to the machine: there is no more of it
	Resize                   // to the machine: JSON of [Size], of the command's terminal
	Stdout                   // bytes
	Stderr                   // bytes
	Exit                     // the command has ended; JSON of [Ended]
	Failed                   // what was asked for can't be done; text
	Wake                     // to the machine: nothing to be done, but an interrupt
)

// MaxPayload bounds a frame.
const MaxPayload = 1 << 20

// PortName is the port's name in the machine.
const PortName = "smartvm.lab"

// Greeting tells how far the machine's clock is.
type Greeting struct {
	UptimeSeconds float64 `json:"uptimeSeconds"`
}

// Settings are what a machine needs to know before its first command.
type Settings struct {
	Shares   []Share  `json:"shares"`
	Release  string   `json:"release"`  // of the kernel
	Modules  string   `json:"modules"`  // the directory of its modules
	Programs string   `json:"programs"` // the directory that becomes /bin
	Load     []Module `json:"load"`     // what is loaded at once
}

// Module is a module of the kernel.
type Module struct {
	Path       string `json:"path"` // below the directory of modules
	Parameters string `json:"parameters,omitempty"`
}

// Share is a directory that is mounted.
type Share struct {
	Tag      string `json:"tag"`
	Path     string `json:"path"`
	Writable bool   `json:"writable"`
}

// Command is a program that is run.
type Command struct {
	Args []string `json:"args"`
	Dir  string   `json:"dir"` // default /
	Env  []string `json:"env"` // beyond PATH, HOME and TMPDIR
	// Terminal gives the program a terminal of this size instead of pipes.
	Terminal *Size `json:"terminal,omitempty"`
}

// Size is that of a terminal, in characters.
type Size struct {
	Rows    int `json:"rows"`
	Columns int `json:"columns"`
}

// Ended tells how a command ended.
type Ended struct {
	// Code is the exit code, or 128 and the signal that ended it, as shells have it.
	Code          int     `json:"code"`
	UptimeSeconds float64 `json:"uptimeSeconds"`
}

// Conn sends and receives frames. One goroutine may receive; any number may send.
type Conn struct {
	rw io.ReadWriter
	mu sync.Mutex // of sending
}

// New returns a connection over rw.
func New(rw io.ReadWriter) *Conn { return &Conn{rw: rw} }

const headSize = 5

// Send sends a frame.
func (c *Conn) Send(k Kind, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("a frame of %d bytes", len(payload))
	}
	frame := make([]byte, headSize, headSize+len(payload))
	frame[0] = byte(k)
	binary.BigEndian.PutUint32(frame[1:], uint32(len(payload)))
	frame = append(frame, payload...)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.rw.Write(frame)
	return err
}

// SendJSON sends a frame with a value.
func (c *Conn) SendJSON(k Kind, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.Send(k, payload)
}

// Receive waits for a frame. The error is io.EOF when the other side has gone
// between two frames.
func (c *Conn) Receive() (Kind, []byte, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(c.rw, head[:]); err != nil {
		return 0, nil, err
	}
	k, size := Kind(head[0]), binary.BigEndian.Uint32(head[1:])
	if k < Hello || k > Wake || size > MaxPayload {
		return 0, nil, fmt.Errorf("not a frame: kind %d with %d bytes", k, size)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(c.rw, payload); err != nil {
		return 0, nil, unexpected(err)
	}
	return k, payload, nil
}

// unexpected is the error about an end within a frame.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Expect receives a frame of the kind and decodes it into v, unless that is nil.
// A frame that says [Failed] becomes an error with its text.
func (c *Conn) Expect(want Kind, v any) error {
	k, payload, err := c.Receive()
	switch {
	case err != nil:
		return err
	case k == Failed:
		return errors.New(string(payload))
	case k != want:
		return fmt.Errorf("got a frame of kind %d, want %d", k, want)
	case v == nil:
		return nil
	}
	return json.Unmarshal(payload, v)
}

// Writer returns a writer whose writes become frames of the kind.
func (c *Conn) Writer(k Kind) io.Writer { return writer{c, k} }

type writer struct {
	conn *Conn
	kind Kind
}

// Write sends p in as many frames as it takes.
func (w writer) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n := min(len(p)-done, MaxPayload)
		if err := w.conn.Send(w.kind, p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}
