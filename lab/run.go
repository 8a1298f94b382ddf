package main

import (
	"context"
	"errors"
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/smartvm/smartvm/lab/internal/box"
	"github.com/smartvm/smartvm/lab/internal/link"
)

// session is a machine for one call, and what the command line says about it.
type session struct {
	lab     *lab
	shares  []box.Share
	env     []string
	dir     string
	timeout time.Duration
	mem     int
	cpus    int
	verbose bool
}

// errTimeout is the cause of the end of a context whose time was up.
var errTimeout = errors.New("the time is up (--timeout)")

// register registers the flags of a machine. Its name for shares leaves -v to go test.
func (s *session) register(flags *flag.FlagSet, share string) {
	flags.Func(share, "share a directory: `HOST:GUEST[:ro|rw]`, by default ro; may be repeated", func(text string) error {
		share, err := parseShare(text)
		s.shares = append(s.shares, share)
		return err
	})
	flags.Func("e", "set an environment variable: `K=V`; may be repeated", func(text string) error {
		if !strings.Contains(text, "=") {
			return errors.New("want K=V")
		}
		s.env = append(s.env, text)
		return nil
	})
	flags.IntVar(&s.mem, "mem", box.DefaultMemMiB, "memory of the machine in `MiB`")
	flags.IntVar(&s.cpus, "cpus", box.DefaultCPUs, "processors of the machine")
	flags.BoolVar(&s.verbose, "verbose", false, "tell how long things take")
}

func parseShare(text string) (box.Share, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "ro" && parts[2] != "rw" {
		return box.Share{}, errors.New("want HOST:GUEST, HOST:GUEST:ro or HOST:GUEST:rw")
	}
	host, err := filepath.Abs(parts[0])
	if err == nil {
		host, err = filepath.EvalSymlinks(host)
	}
	if err == nil && !filepath.IsAbs(parts[1]) {
		err = errors.New("the path in the machine has to be absolute")
	}
	return box.Share{Host: host, Guest: filepath.Clean(parts[1]), Writable: len(parts) == 3 && parts[2] == "rw"}, err
}

// in boots a machine and has f do something in it.
func (s *session) in(ctx context.Context, p *parts, f func(*box.Machine) (int, error)) (code int, err error) {
	o, err := p.machineOptions()
	if err != nil {
		return 0, err
	}
	o.Shares, o.MemMiB, o.CPUs = append(o.Shares, s.shares...), s.mem, s.cpus
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.timeout, errTimeout)
		defer cancel()
	}
	began := time.Now()
	m, err := box.Start(ctx, o)
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, m.Close())
		if ctx.Err() != nil {
			err = context.Cause(ctx) // the machine's end is no news
		}
		s.tell("lab: %.2f s in all\n", time.Since(began).Seconds())
	}()
	s.tell("lab: ready after %.2f s, of which the kernel knows %.2f\n", time.Since(began).Seconds(), m.BootSeconds)
	return f(m)
}

func (s *session) tell(format string, args ...any) {
	if s.verbose {
		s.lab.say(format, args...)
	}
}

// run runs one command.
func (l *lab) run(ctx context.Context, args []string) (int, error) {
	s := &session{lab: l}
	flags := l.flags("run")
	s.register(flags, "v")
	flags.DurationVar(&s.timeout, "timeout", 10*time.Minute, "end the machine after this time; 0 is never")
	flags.StringVar(&s.dir, "w", "", "working `DIR`ectory in the machine")
	if err := parse(flags, args); err != nil {
		return 0, err
	}
	if flags.NArg() == 0 {
		return 0, usageError{errors.New("a command is missing")}
	}
	p, err := l.machineParts(ctx, false)
	if err != nil {
		return 0, err
	}
	return s.in(ctx, p, func(m *box.Machine) (int, error) {
		env := slices.Concat(s.env, p.environment(p.inside))
		return m.Run(link.Command{Args: flags.Args(), Dir: s.dir, Env: env}, l.streams())
	})
}

// streams are ours, but for a terminal: a command that runs in the machine without
// one of its own has nobody who types.
func (l *lab) streams() box.Streams {
	s := box.Streams{Stdout: l.stdout, Stderr: l.stderr}
	if !term.IsTerminal(int(l.stdin.Fd())) {
		s.Stdin = l.stdin
	}
	return s
}
