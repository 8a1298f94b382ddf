package smartvm_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/smartvm/smartvm"
)

// screen reads a console as it grows.
type screen struct {
	t    *testing.T
	from io.ReadCloser
	seen bytes.Buffer
}

func follow(t *testing.T, vm *smartvm.VM, opts smartvm.ConsoleOptions) *screen {
	t.Helper()
	opts.Follow = true
	r, err := vm.OpenConsole(patient(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return &screen{t: t, from: r}
}

// find reads up to and including text, and returns what came before it.
func (s *screen) find(text string) string {
	s.t.Helper()
	buf := make([]byte, 4096)
	for {
		if before, after, found := strings.Cut(s.seen.String(), text); found {
			s.seen.Reset()
			s.seen.WriteString(after)
			return before
		}
		n, err := s.from.Read(buf)
		s.seen.Write(buf[:n])
		if err != nil && n == 0 {
			seen := s.seen.String()
			s.t.Fatalf("no %q on the console (%v), but %d bytes that end with %q", text, err, len(seen), seen[max(len(seen)-400, 0):])
		}
	}
}

// rest reads to the end.
func (s *screen) rest() string {
	s.t.Helper()
	if _, err := io.Copy(&s.seen, s.from); err != nil {
		s.t.Fatal(err)
	}
	return s.seen.String()
}

// output returns what a console has now.
func output(t *testing.T, vm *smartvm.VM) string {
	t.Helper()
	r, err := vm.OpenConsole(patient(t), smartvm.ConsoleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}
