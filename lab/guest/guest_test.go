package guest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/lab/guest"
	"github.com/smartvm/smartvm/lab/internal/guestline"
)

// machine is a VM whose guest is a function that gets requests and sends lines.
type machine struct {
	out      *io.PipeReader
	lines    *io.PipeWriter
	requests chan guestline.Request
	skipped  bool
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{requests: make(chan guestline.Request, 10)}
	m.out, m.lines = io.Pipe()
	t.Cleanup(func() { _ = m.lines.Close() })
	return m
}

func (m *machine) OpenConsole(_ context.Context, o smartvm.ConsoleOptions) (io.ReadCloser, error) {
	m.skipped = o.SkipPast
	return m.out, nil
}

func (m *machine) WriteConsole(_ context.Context, input []byte) error {
	scan := bufio.NewScanner(strings.NewReader(string(input)))
	for scan.Scan() {
		r, err := guestline.ParseRequest(scan.Text())
		if err != nil {
			return err
		}
		m.say("@%d %s\n", r.ID, guestline.Taken) // as guestinit does, before anything else about it
		m.requests <- r
	}
	return nil
}

// say sends what is on the console, and waits until it has been read.
func (m *machine) say(format string, args ...any) { _, _ = fmt.Fprintf(m.lines, format, args...) }

// next is the next request.
func (m *machine) next(t *testing.T) guestline.Request {
	t.Helper()
	select {
	case r := <-m.requests:
		return r
	case <-patient(t).Done():
		t.Fatal("no request comes")
		return guestline.Request{}
	}
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// up is a guest that has booted.
func up(t *testing.T) (*machine, *guest.Guest) {
	t.Helper()
	m := newMachine(t)
	go m.say("[ 0.1] noise of the kernel\r\n@ready ext4\r\n")
	g, err := guest.Boot(patient(t), m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	if g.Root() != "ext4" || m.skipped {
		t.Errorf("root %q, past skipped: %t", g.Root(), m.skipped)
	}
	return m, g
}

func TestCommandsRunAtTheSameTime(t *testing.T) {
	t.Parallel()
	m, g := up(t)
	first, err := g.Start(patient(t), "first")
	if err != nil {
		t.Fatal(err)
	}
	second, err := g.Start(patient(t), "second")
	if err != nil {
		t.Fatal(err)
	}
	a, b := m.next(t), m.next(t)
	if a.Text != "first" || b.Text != "second" || a.ID == b.ID {
		t.Fatalf("got %+v and %+v", a, b)
	}
	m.say("@%d out \"one \"\nnoise\n@%d err \"two\"\n@%d out \"more\"\n@999 exit 3\n@%d exit 5\n", a.ID, b.ID, a.ID, b.ID)
	got, err := second.Wait(patient(t))
	if diff := cmp.Diff(guest.Result{Stderr: "two", Code: 5}, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if err := first.WaitOutput(patient(t), "one more"); err != nil {
		t.Error(err)
	}
	go m.say("@%d exit 0\n", a.ID)
	if err := first.WaitOutput(patient(t), "and more"); err == nil || !strings.Contains(err.Error(), "one more") {
		t.Errorf("wait for what never comes: %v, want an error with what came", err)
	}
}

func TestOutputFailsWithTheCommand(t *testing.T) {
	t.Parallel()
	m, g := up(t)
	for code, fails := range map[int]bool{0: false, 1: true} {
		go func() {
			r := m.next(t)
			m.say("@%d out \" text\\n\"\n@%d err \"why\"\n@%d exit %d\n", r.ID, r.ID, r.ID, code)
		}()
		text, err := g.Output(patient(t), "command")
		if text != "text" || (err != nil) != fails || fails && !strings.Contains(err.Error(), "why") {
			t.Errorf("exit code %d: %q, %v", code, text, err)
		}
	}
}

func TestCommandIsKilledWithItsContext(t *testing.T) {
	t.Parallel()
	m, g := up(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		m.next(t)
		cancel()
	}()
	if _, err := g.Run(ctx, "sleep 100"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if r := m.next(t); r.Verb != guestline.Kill {
		t.Errorf("got %+v, want a kill", r)
	}
}

func TestEndOfTheConsoleEndsAllWaits(t *testing.T) {
	t.Parallel()
	m, g := up(t)
	task, err := g.Start(patient(t), "command")
	if err != nil {
		t.Fatal(err)
	}
	m.say("Kernel panic\r\n")
	_ = m.lines.Close()
	if _, err := task.Wait(patient(t)); !errors.Is(err, guest.ErrGone) || !strings.Contains(err.Error(), "Kernel panic") {
		t.Errorf("got %v, want the last words", err)
	}
	if err := g.Hello(patient(t)); !errors.Is(err, guest.ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestGuestThatDoesNotComeUpIsToldWithItsWords(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	go func() {
		m.say("no root\n")
		_ = m.lines.Close()
	}()
	if _, err := guest.Boot(patient(t), m); !errors.Is(err, guest.ErrGone) || !strings.Contains(err.Error(), "no root") {
		t.Errorf("got %v", err)
	}
}

func TestDamagedReplyIsNotLost(t *testing.T) {
	t.Parallel()
	m, g := up(t)
	go func() {
		r := m.next(t)
		m.say("@%d out \"abc[ 1.0] oops\n", r.ID)
	}()
	if _, err := g.Run(patient(t), "command"); err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("got %v", err)
	}
}

func TestAttachAsksTheGuestThatIsUp(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	go func() {
		r := m.next(t)
		if r.ID < 100 {
			t.Errorf("its numbers begin with %d, as those of another connection do", r.ID)
		}
		m.say("@%d %s\n", r.ID, r.Verb)
	}()
	g, err := guest.Attach(patient(t), m)
	if err != nil {
		t.Fatal(err)
	}
	if !m.skipped {
		t.Error("it looked at the past")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}
