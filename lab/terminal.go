package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/smartvm/smartvm/lab/internal/link"
)

// terminal is a person's, in raw mode: each key goes to the machine.
type terminal struct {
	file  *os.File
	old   *term.State
	size  link.Size
	sizes chan link.Size
}

func openTerminal(ctx context.Context, f *os.File) (*terminal, error) {
	t := &terminal{file: f, sizes: make(chan link.Size)}
	var err error
	if t.size, err = t.measure(); err != nil {
		return nil, fmt.Errorf("size of the terminal: %w", err)
	}
	if t.old, err = term.MakeRaw(int(f.Fd())); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	go t.watch(ctx)
	return t, nil
}

func (t *terminal) measure() (link.Size, error) {
	columns, rows, err := term.GetSize(int(t.file.Fd()))
	return link.Size{Rows: rows, Columns: columns}, err
}

func (t *terminal) close() error { return term.Restore(int(t.file.Fd()), t.old) }

// watch passes on new sizes of the terminal until ctx ends.
func (t *terminal) watch(ctx context.Context) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	defer signal.Stop(changed)
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		size, err := t.measure()
		if err != nil {
			continue // it keeps the size that it has
		}
		select {
		case t.sizes <- size:
		case <-ctx.Done():
			return
		}
	}
}
