package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/lab/internal/link"
)

// streams are the standard streams of a command: three pipes, or a terminal.
type streams struct {
	stdin, stdout, stderr *os.File // the command's ends
	theirs                []*os.File

	input    *os.File
	outputs  []output
	terminal *os.File // nil for pipes
}

// output is an end of ours, and the kind of frame that it is sent as.
type output struct {
	file *os.File
	kind link.Kind
}

func openStreams(size *link.Size) (*streams, error) {
	if size != nil {
		return openTerminal(*size)
	}
	s := new(streams)
	var err error
	if s.stdin, s.input, err = os.Pipe(); err != nil {
		return nil, err
	}
	s.theirs = append(s.theirs, s.stdin)
	for _, o := range []struct {
		end  **os.File
		kind link.Kind
	}{{&s.stdout, link.Stdout}, {&s.stderr, link.Stderr}} {
		r, w, err := os.Pipe()
		if err != nil {
			s.close()
			return nil, err
		}
		*o.end = w
		s.theirs, s.outputs = append(s.theirs, w), append(s.outputs, output{r, o.kind})
	}
	return s, nil
}

func openTerminal(size link.Size) (*streams, error) {
	master, err := os.OpenFile("/dev/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		_ = master.Close()
		return nil, os.NewSyscallError("open a terminal", err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		_ = master.Close()
		return nil, err
	}
	s := &streams{
		stdin: slave, stdout: slave, stderr: slave, theirs: []*os.File{slave},
		input: master, outputs: []output{{master, link.Stdout}}, terminal: master,
	}
	s.resize(size)
	return s, nil
}

// endInput says that there is no more: by closing a pipe, or as a person would.
func (s *streams) endInput() {
	const endOfTransmission = 4
	if s.terminal != nil {
		_, _ = s.terminal.Write([]byte{endOfTransmission})
		return
	}
	_ = s.input.Close()
}

func (s *streams) resize(size link.Size) {
	if s.terminal != nil {
		_ = unix.IoctlSetWinsize(int(s.terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.Rows), Col: uint16(size.Columns)})
	}
}

// handOver closes the command's ends, which it has by now.
func (s *streams) handOver() {
	for _, f := range s.theirs {
		_ = f.Close()
	}
	s.theirs = nil
}

func (s *streams) close() {
	s.handOver()
	_ = s.input.Close()
	for _, o := range s.outputs {
		_ = o.file.Close()
	}
}
