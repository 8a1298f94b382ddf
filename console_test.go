package smartvm_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/hello"
)

func TestInputReachesTheGuestAndEveryFollowerSeesTheEcho(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Echo)
	past, live := follow(t, vm, smartvm.ConsoleOptions{}), follow(t, vm, smartvm.ConsoleOptions{})
	past.find("boot args: " + hello.Echo)
	must(t, vm.WriteConsole(patient(t), []byte("one\n")))
	past.find("one\r\n")
	live.find("one\r\n")
	late := follow(t, vm, smartvm.ConsoleOptions{SkipPast: true})
	must(t, vm.WriteConsole(patient(t), []byte("exit\n")))
	for _, s := range []*screen{past, live, late} {
		if got := s.rest(); got != hello.Goodbye+"\r\n" {
			t.Errorf("the last words are %q", got)
		}
	}
	ended(t, vm)
	wantCode(t, vm.WriteConsole(patient(t), []byte("more\n")), smartvm.InvalidState)
	if got := output(t, vm); !strings.HasSuffix(got, hello.Goodbye+"\r\n") {
		t.Errorf("after the end the console has %q", got)
	}
}

func TestFloodOfOutputStaysBounded(t *testing.T) {
	const limit = 16 << 10
	s := bootSiteWith(t, smartvm.Options{ConsoleLimit: limit})
	vm := s.boot(hello.Flood)
	screen := follow(t, vm, smartvm.ConsoleOptions{})
	for range 200 { // each needs a line that is not there yet
		screen.find("\n")
	}
	until(t, "the first line to be dropped", func() bool { return !strings.Contains(output(t, vm), hello.Greeting) })
	must(t, vm.Pause(patient(t)))
	if n := len(settled(t, vm)); n == 0 || n > limit {
		t.Errorf("%d bytes are kept, want at most %d", n, limit)
	}
}

func TestFollowerEndsWithItsContext(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Stay)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := vm.OpenConsole(ctx, smartvm.ConsoleOptions{Follow: true})
	must(t, err)
	defer r.Close()
	read := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, r)
		read <- err
	}()
	cancel()
	if err := <-read; !errors.Is(err, context.Canceled) {
		t.Errorf("read = %v, want the context's error", err)
	}
	wantState(t, vm, smartvm.Running)
}

func TestInputThatNobodyTakesWaitsForItsContext(t *testing.T) {
	s := bootSite(t)
	vm := s.boot(hello.Hang)
	ctx, cancel := context.WithTimeout(t.Context(), 10*brief)
	defer cancel()
	err := vm.WriteConsole(ctx, make([]byte, 1<<20))
	if codeOf(err) != "CONSOLE_FAILED" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("write = %v (%s), want CONSOLE_FAILED with the context's error", err, codeOf(err))
	}
	must(t, vm.Pause(patient(t))) // it is none the worse
}
