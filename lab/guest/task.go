package guest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/smartvm/smartvm/lab/internal/guestline"
)

// Result is what a command has printed so far, and how it ended.
type Result struct {
	Stdout, Stderr string
	Code           int // 128 and the number of the signal that ended it
}

// Task is a command in the guest.
type Task struct {
	guest   *Guest
	id      uint64
	command string

	// guarded by the guest's mu
	result Result
	over   bool
}

// Start starts a command of the guest's shell (busybox), with nothing to read. It has
// ended when nothing has its output open any more, so what is to stay behind has to
// redirect it.
func (g *Guest) Start(ctx context.Context, command string) (*Task, error) {
	if len(command) > guestline.MaxText {
		return nil, fmt.Errorf("a command of %d bytes; at most %d", len(command), guestline.MaxText)
	}
	return g.ask(ctx, guestline.Request{Verb: guestline.Run, Text: command})
}

// killTimeout is for a guest that takes no lines any more.
const killTimeout = 10 * time.Second

// Run runs a command to its end. An exit code other than 0 is no error. When ctx ends
// first, the command is killed.
func (g *Guest) Run(ctx context.Context, command string) (Result, error) {
	t, err := g.Start(ctx, command)
	if err != nil {
		return Result{}, err
	}
	result, err := t.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
		defer cancel()
		_ = t.Kill(ctx) // the wait's error says it all
	}
	return result, err
}

// Output runs a command that must succeed, and returns what it prints on its
// standard output, without the white space around.
func (g *Guest) Output(ctx context.Context, command string) (string, error) {
	result, err := g.Run(ctx, command)
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("%q in the guest ended with %d: %s%s", command, result.Code, result.Stdout, result.Stderr)
	}
	return strings.TrimSpace(result.Stdout), err
}

// Wait waits for the command's end, and returns what it has printed in any case.
func (t *Task) Wait(ctx context.Context) (Result, error) {
	err := t.guest.await(ctx, fmt.Sprintf("%q in the guest", t.command), func() bool { return t.over })
	return t.Result(), err
}

// WaitOutput waits until the standard output has the text, or the command has ended,
// which is an error then.
func (t *Task) WaitOutput(ctx context.Context, text string) error {
	has := func() bool { return strings.Contains(t.result.Stdout, text) }
	err := t.guest.await(ctx, fmt.Sprintf("%q from %q in the guest", text, t.command), func() bool { return t.over || has() })
	if r := t.Result(); err == nil && !strings.Contains(r.Stdout, text) {
		err = fmt.Errorf("%q in the guest ended with %d and without %q: %s%s", t.command, r.Code, text, r.Stdout, r.Stderr)
	}
	return err
}

// Result returns what there is so far.
func (t *Task) Result() Result {
	t.guest.mu.Lock()
	defer t.guest.mu.Unlock()
	return t.result
}

// Kill ends the command and all that it has started. Its end has to be waited for.
func (t *Task) Kill(ctx context.Context) error {
	return t.guest.send(ctx, guestline.Request{Verb: guestline.Kill, ID: t.id})
}
