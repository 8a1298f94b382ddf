package main

import (
	"context"
	"errors"
	"os"
	"slices"

	"golang.org/x/term"

	"github.com/smartvm/smartvm/lab/internal/box"
	"github.com/smartvm/smartvm/lab/internal/link"
)

// shell runs a shell on the terminal.
func (l *lab) shell(ctx context.Context, args []string) (int, error) {
	s := &session{lab: l}
	flags := l.flags("shell")
	s.register(flags, "v")
	flags.StringVar(&s.dir, "w", "/root", "working `DIR`ectory in the machine")
	if err := parse(flags, args); err != nil {
		return 0, err
	}
	if !term.IsTerminal(int(l.stdin.Fd())) {
		return 0, usageError{errors.New("standard input is no terminal; lab run takes commands")}
	}
	command := flags.Args()
	if len(command) == 0 {
		command = []string{"sh", "-l"}
	}
	p, err := l.machineParts(ctx, false)
	if err != nil {
		return 0, err
	}
	l.say("booting; the end of the shell is that of the machine\n")
	return s.in(ctx, p, func(m *box.Machine) (code int, err error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		t, err := openTerminal(ctx, l.stdin)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, t.close()) }()
		env := slices.Concat(s.env, []string{"TERM=" + os.Getenv("TERM"), `PS1=\h:\w# `}, p.environment(p.inside))
		return m.Run(link.Command{Args: command, Dir: s.dir, Env: env, Terminal: &t.size},
			box.Streams{Stdin: l.stdin, Stdout: l.stdout, Stderr: l.stderr, Sizes: t.sizes})
	})
}
