package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/lab/internal/guestline"

	"github.com/smartvm/smartvm/lab/internal/loopback"
)

// serve sets up what a guest needs and serves the console. It returns only with an
// error.
func serve() error {
	if err := settle(); err != nil {
		return err
	}
	console, err := openConsole()
	if err != nil {
		return err
	}
	s := &server{console: console, processes: newProcesses(), begun: make(map[uint64]string)}
	kind, err := rootKind()
	if err != nil {
		return err
	}
	s.say(guestline.Reply{Kind: guestline.Ready, Text: kind})
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, guestline.MaxLine)
	for lines.Scan() {
		request, err := guestline.ParseRequest(lines.Text())
		if err != nil {
			continue // noise of the line, or somebody who types
		}
		s.do(request)
	}
	return errors.Join(errors.New("the console has ended"), lines.Err())
}

// settle mounts what commands expect, and takes Ctrl+Alt+Del away from the kernel,
// which would reboot without writing anything back.
func settle() error {
	if err := mountKernel(); err != nil {
		return err
	}
	err := mountAll([]mount{{"tmpfs", "/tmp", unix.MS_NOSUID}, {"tmpfs", "/run", unix.MS_NOSUID}})
	if err != nil {
		return err
	}
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		return os.NewSyscallError("reboot", err)
	}
	go obeySignals()
	if err := unix.Sethostname([]byte("guest")); err != nil {
		return os.NewSyscallError("sethostname", err)
	}
	if err := loopback.Raise(); err != nil {
		return err
	}
	return configureAddress()
}

// openConsole opens the serial port without echo and without any translation.
func openConsole() (*os.File, error) {
	console, err := os.OpenFile("/dev/ttyS0", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(console.Fd()), unix.TCGETS)
	if err != nil {
		return nil, os.NewSyscallError("tcgetattr", err)
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return console, os.NewSyscallError("tcsetattr", unix.IoctlSetTermios(int(console.Fd()), unix.TCSETS, t))
}

// rootKind is the type of the root file system; the last mount at / is what is seen.
func rootKind() (kind string, err error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[1] == "/" {
			kind = fields[2]
		}
	}
	return kind, err
}

// server runs commands, any number at a time.
type server struct {
	mu        sync.Mutex // of writing
	console   io.Writer
	processes *processes
	begun     map[uint64]string // commands whose end has not come yet
}

func (s *server) say(r guestline.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.WriteString(s.console, r.String()) // there is no other place to complain
}

func (s *server) do(r guestline.Request) {
	s.say(guestline.Reply{Kind: guestline.Taken, ID: r.ID})
	switch r.Verb {
	case guestline.More:
		s.begun[r.ID] += r.Text
	case guestline.Hello:
		s.say(guestline.Reply{Kind: guestline.Hi, ID: r.ID})
	case guestline.Kill:
		s.processes.kill(r.ID)
	case guestline.Run:
		r.Text = s.begun[r.ID] + r.Text
		delete(s.begun, r.ID)
		if err := s.run(r); err != nil {
			s.say(guestline.Reply{Kind: guestline.Stderr, ID: r.ID, Text: fmt.Sprintf("guestinit: %v\n", err)})
			s.say(guestline.Reply{Kind: guestline.Exit, ID: r.ID, Code: 127})
		}
	}
}

// run starts a command. Its end is told when nobody has its output open any more.
func (s *server) run(r guestline.Request) error {
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer outW.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		_ = outR.Close()
		return err
	}
	defer errW.Close()
	exited, err := s.processes.start(r.ID, []string{"/bin/sh", "-c", r.Text}, outW, errW)
	if err != nil {
		_, _ = outR.Close(), errR.Close()
		return err
	}
	var output sync.WaitGroup
	output.Go(func() { s.relay(r.ID, guestline.Stdout, outR) })
	output.Go(func() { s.relay(r.ID, guestline.Stderr, errR) })
	go func() {
		output.Wait()
		s.say(guestline.Reply{Kind: guestline.Exit, ID: r.ID, Code: <-exited})
	}()
	return nil
}

func (s *server) relay(id uint64, kind guestline.Kind, r *os.File) {
	defer r.Close()
	buf := make([]byte, guestline.MaxText)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			s.say(guestline.Reply{Kind: kind, ID: id, Text: string(buf[:n])})
		}
		if err != nil {
			return
		}
	}
}
