package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/lab/internal/link"
)

// frame is one that came from the lab program.
type frame struct {
	kind    link.Kind
	payload []byte
	err     error
}

// server runs one command after the other.
type server struct {
	conn   *link.Conn
	shares []link.Share
	frames chan frame
}

// receive hands over frames until there are no more.
func (s *server) receive() {
	for {
		kind, payload, err := s.conn.Receive()
		if kind == link.Wake {
			continue
		}
		s.frames <- frame{kind, payload, err}
		if err != nil {
			return
		}
	}
}

func (s *server) serve() error {
	for f := range s.frames {
		switch {
		case f.err != nil:
			return f.err
		case f.kind != link.Run:
			continue // meant for a command that has ended meanwhile
		}
		var c link.Command
		if err := json.Unmarshal(f.payload, &c); err != nil {
			return err
		}
		code, err := s.run(c)
		if err != nil {
			err = s.conn.Send(link.Failed, []byte(err.Error()))
		} else {
			err = s.conn.SendJSON(link.Exit, link.Ended{Code: code, UptimeSeconds: uptime()})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// run runs a command to its end, and ends what it has left behind: the next one
// finds a clean machine, and its output has come to an end.
func (s *server) run(c link.Command) (int, error) {
	streams, err := openStreams(c.Terminal)
	if err != nil {
		return 0, err
	}
	defer streams.close()
	program, err := find(c.Args[0])
	if err != nil {
		return 0, err
	}
	if c.Dir == "" {
		c.Dir = "/"
	}
	// Not os.StartProcess: the wait below reaps whatever ends.
	pid, err := syscall.ForkExec(program, c.Args, &syscall.ProcAttr{ //nolint:gosec // running what it is told is its job
		Dir:   c.Dir,
		Env:   append(c.Env, "PATH="+searchPath, "HOME=/root", "TMPDIR=/tmp"), // the first of a name counts
		Files: []uintptr{streams.stdin.Fd(), streams.stdout.Fd(), streams.stderr.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: c.Terminal != nil},
	})
	if err != nil {
		return 0, &os.PathError{Op: "run", Path: program, Err: err}
	}
	streams.handOver()
	var output sync.WaitGroup
	for _, out := range streams.outputs {
		output.Go(func() { _, _ = io.Copy(s.conn.Writer(out.kind), out.file) }) // a terminal ends with EIO
	}
	exited := make(chan int, 1)
	go func() { exited <- await(pid) }()
	code, err := s.feed(exited, streams)
	if err != nil {
		return 0, err
	}
	endAll()
	output.Wait()
	s.flush()
	return code, nil
}

// feed passes on what comes for the command until it has ended.
func (s *server) feed(exited <-chan int, streams *streams) (int, error) {
	for {
		select {
		case code := <-exited:
			return code, nil
		case f := <-s.frames:
			if f.err != nil {
				return 0, f.err
			}
			switch f.kind {
			case link.Stdin:
				_, _ = streams.input.Write(f.payload) // fails if the command has closed it, which it may
			case link.StdinEnd:
				streams.endInput()
			case link.Resize:
				var size link.Size
				if err := json.Unmarshal(f.payload, &size); err != nil {
					return 0, err
				}
				streams.resize(size)
			default: // the lab program sends nothing else
			}
		}
	}
}

// await reaps until the child has ended. What it left behind is ours to reap too.
func await(pid int) int {
	for {
		var ws unix.WaitStatus
		ended, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			return 255 // it can't be
		case ended != pid:
		case ws.Signaled():
			return 128 + int(ws.Signal())
		default:
			return ws.ExitStatus()
		}
	}
}

// endAll kills every process but this one, and waits for them.
func endAll() {
	_ = unix.Kill(-1, unix.SIGKILL) // fails if there is none
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// flush sees that what was written to shares has arrived.
func (s *server) flush() {
	for _, share := range s.shares {
		if !share.Writable {
			continue
		}
		if dir, err := os.Open(share.Path); err == nil {
			_ = unix.Syncfs(int(dir.Fd()))
			_ = dir.Close()
		}
	}
}

// searchPath is where programs are.
const searchPath = "/bin:/sbin"

// find looks for a program as a shell does.
func find(name string) (string, error) {
	path := name
	for i := range name {
		if name[i] == '/' {
			return path, nil
		}
	}
	path = "/bin/" + name
	if err := unix.Access(path, unix.X_OK); err != nil {
		return "", fmt.Errorf("there is no program %s in /bin: %w", name, err)
	}
	return path, nil
}
