package proc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxOutput bounds what a short program may print.
const maxOutput = 64 << 10

// Command is a program that does one thing and ends by itself.
type Command struct {
	Path string   // of the program
	Args []string // without the program's name
	Env  []string // "NAME=value"; nothing is inherited
	Dir  string   // working directory; default /, so that arguments have to be absolute paths
	// Input writes what the program reads on its standard input; it runs in a
	// goroutine that is waited for. A write fails with EPIPE once the program reads
	// no more, which is no failure by itself. Any other error kills the program.
	// Nil means that there is nothing to read.
	Input func(w io.Writer) error
}

// ExitError says that a program ran and ended without success.
type ExitError struct {
	Status Status
	Stderr string // the end of what it printed on its standard error, without control characters
}

// Error returns "ended with exit code 1: text".
func (e *ExitError) Error() string {
	if e.Stderr == "" {
		return "ended with " + e.Status.String()
	}
	return "ended with " + e.Status.String() + ": " + e.Stderr
}

// Run runs the command and drops what it prints on its standard output. The
// program is killed when ctx ends; the error is then the cause of that. When it
// ends without success, the error is an [*ExitError].
func Run(ctx context.Context, c Command) error { return c.run(ctx, nil) }

// Output runs a program that needs no environment, else it is [Command.Output].
func Output(ctx context.Context, path string, args ...string) ([]byte, error) {
	return Command{Path: path, Args: args}.Output(ctx)
}

// Output runs the command and returns what it prints on its standard output, else
// it is [Run].
func (c Command) Output(ctx context.Context) ([]byte, error) {
	var out []byte
	err := c.run(ctx, func(r io.Reader) (err error) {
		if out, err = io.ReadAll(io.LimitReader(r, maxOutput)); err == nil && len(out) == maxOutput {
			err = fmt.Errorf("printed more than %d bytes", maxOutput)
		}
		return err
	})
	return out, err
}

// run starts the program and a goroutine for each of its streams that somebody
// is interested in, and waits for all of them.
func (c Command) run(ctx context.Context, output func(io.Reader) error) error {
	var s streams
	defer s.close()
	var said tail
	stdin, in := s.input(c.Input)
	stdout, out := s.output(output)
	stderr, complaints := s.output(func(r io.Reader) error {
		_, err := io.Copy(&said, r)
		return err
	})
	if s.err != nil {
		return s.err
	}
	p, err := Start(Spec{Path: c.Path, Args: c.Args, Env: c.Env, Dir: cmp.Or(c.Dir, "/"), Stdin: stdin, Stdout: stdout, Stderr: stderr})
	s.handOver()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Kill(context.WithoutCancel(ctx)) })
	defer stop()
	failure := s.pump(p, in, out, complaints)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case failure != nil:
		return failure
	case !p.Status().Success():
		return &ExitError{Status: p.Status(), Stderr: said.String()}
	}
	return nil
}

// streams are the ends of a program's standard streams. The first failure to
// make one is kept, and nothing is done after it.
type streams struct {
	ours, theirs []*os.File
	err          error
}

// work is what moves data through one stream, until the program closes it.
type work func() error

func (s *streams) input(write func(io.Writer) error) (*os.File, work) {
	if write == nil {
		return s.null(), nil
	}
	r, w := s.pipe()
	s.ours, s.theirs = append(s.ours, w), append(s.theirs, r)
	return r, func() error {
		err := errors.Join(write(w), w.Close())
		if errors.Is(err, unix.EPIPE) {
			return nil // its exit status tells whether it had all that it wanted
		}
		return err
	}
}

func (s *streams) output(read func(io.Reader) error) (*os.File, work) {
	if read == nil {
		return s.null(), nil
	}
	r, w := s.pipe()
	s.ours, s.theirs = append(s.ours, r), append(s.theirs, w)
	return w, func() error { return read(r) }
}

func (s *streams) null() *os.File {
	if s.err != nil {
		return nil
	}
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	s.theirs, s.err = append(s.theirs, f), err
	return f
}

func (s *streams) pipe() (r, w *os.File) {
	if s.err != nil {
		return nil, nil
	}
	r, w, s.err = os.Pipe()
	return r, w
}

// handOver closes the program's ends: it has them, or will never start.
func (s *streams) handOver() {
	for _, f := range s.theirs {
		_ = f.Close()
	}
	s.theirs = nil
}

func (s *streams) close() {
	s.handOver()
	for _, f := range s.ours {
		_ = f.Close() // a second close is harmless, and nil is one too
	}
}

// pump does the works until the program has ended, and returns the first error.
// A program whose stream has failed is killed.
func (s *streams) pump(p *Process, works ...work) error {
	var (
		all   sync.WaitGroup
		once  sync.Once
		first error
	)
	for _, work := range works {
		if work == nil {
			continue
		}
		all.Go(func() {
			if err := work(); err != nil {
				once.Do(func() { first = errors.Join(err, p.Signal(unix.SIGKILL)) })
			}
		})
	}
	<-p.Done()
	all.Wait()
	return first
}

// maxTail is how much of a program's complaints is kept: they end with the reason.
const maxTail = 1 << 10

// tail is a writer that keeps the end of what is written.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if more := len(t.text) - maxTail; more > 0 {
		t.text = append(t.text[:0], t.text[more:]...)
	}
	return len(p), nil
}

// String joins the lines by "; ".
func (t *tail) String() string {
	var lines []string
	for line := range strings.FieldsFuncSeq(string(t.text), func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(line, "?")))
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

func printable(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 {
		return -1
	}
	return r
}
