// Package guest is for tests that boot a Linux guest of the lab's kit: it finds the
// kit, and runs commands in the guest over its serial console.
//
//	kit := guest.Find(t)
//	vm, err := manager.CreateVM("", kit.Config(t, guest.Squashfs))
//	err = vm.Start(ctx)
//	g, err := guest.Boot(ctx, vm)
//	defer g.Close()
//	result, err := g.Run(ctx, "ip addr")
//
// Nothing in it sleeps or polls: a line of the console is an event.
package guest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/lab/internal/guestline"
)

// Guest is a guest that can be talked to. Its methods may be called from several
// goroutines, and commands run at the same time.
type Guest struct {
	write func(ctx context.Context, line []byte) error
	ended chan struct{} // the reader has
	turn  chan struct{} // full while somebody sends

	mu      sync.Mutex
	next    uint64
	unread  uint64 // the request that the guest has been sent last, 0 when it has read it
	tasks   map[uint64]*Task
	changed chan struct{} // closed and replaced when something below, or of a task, changes
	root    string        // of the guest that is up
	failure error         // why there is no more to come
	close   func() error
}

// VM is what a guest is reached through; *smartvm.VM is one.
type VM interface {
	OpenConsole(ctx context.Context, opts smartvm.ConsoleOptions) (io.ReadCloser, error)
	WriteConsole(ctx context.Context, input []byte) error
}

// Boot waits until the guest of a VM that has been started is up. ctx also bounds
// the life of the connection.
func Boot(ctx context.Context, vm VM) (*Guest, error) {
	console, err := vm.OpenConsole(ctx, smartvm.ConsoleOptions{Follow: true})
	if err != nil {
		return nil, err
	}
	g := New(console, vm.WriteConsole)
	if err := g.waitReady(ctx); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Attach connects to a guest that is up already, such as one of a snapshot. What its
// console said before is not looked at.
func Attach(ctx context.Context, vm VM) (*Guest, error) {
	console, err := vm.OpenConsole(ctx, smartvm.ConsoleOptions{Follow: true, SkipPast: true})
	if err != nil {
		return nil, err
	}
	g := New(console, vm.WriteConsole)
	g.next = rand.Uint64N(1<<32) << 8 //nolint:gosec // what earlier connections have started goes on, and says its numbers
	if err := g.Hello(ctx); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// New talks over a console: what comes from it, which is closed by Close, and what
// writes to it.
func New(console io.ReadCloser, write func(ctx context.Context, line []byte) error) *Guest {
	g := &Guest{
		write: write, ended: make(chan struct{}), turn: make(chan struct{}, 1), tasks: make(map[uint64]*Task), changed: make(chan struct{}),
		close: sync.OnceValue(console.Close),
	}
	go g.read(console)
	return g
}

// Close ends the connection. The guest and its commands go on.
func (g *Guest) Close() error {
	err := g.close()
	<-g.ended
	return err
}

// Root is the type of the root file system, squashfs or ext4; "" for a guest that
// was attached to.
func (g *Guest) Root() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.root
}

// Hello waits for an answer of the guest.
func (g *Guest) Hello(ctx context.Context) error {
	t, err := g.ask(ctx, guestline.Request{Verb: guestline.Hello})
	if err != nil {
		return err
	}
	return g.await(ctx, "an answer", func() bool { return t.over })
}

func (g *Guest) waitReady(ctx context.Context) error {
	return g.await(ctx, "the guest to be up", func() bool { return g.root != "" })
}

// ErrGone is matched by errors about a console that has come to its end, as it does
// with its VM.
var ErrGone = errors.New("the console has ended")

// await waits until cond, which is called with mu held, is true.
func (g *Guest) await(ctx context.Context, what string, cond func() bool) error {
	for {
		g.mu.Lock()
		met, failure, changed := cond(), g.failure, g.changed
		g.mu.Unlock()
		switch {
		case met:
			return nil
		case failure != nil:
			return fmt.Errorf("wait for %s: %w", what, failure)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		}
	}
}

// tellLocked wakes all who wait.
func (g *Guest) tellLocked() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// ask sends a request under a new number.
func (g *Guest) ask(ctx context.Context, r guestline.Request) (*Task, error) {
	g.mu.Lock()
	g.next++
	r.ID = g.next
	t := &Task{guest: g, id: r.ID, command: r.Text}
	g.tasks[r.ID] = t
	g.mu.Unlock()
	if err := g.send(ctx, r); err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.tasks, r.ID)
		return nil, err
	}
	return t, nil
}

// send sends a request in lines, each when the guest has read the one before: see
// [guestline.Request.Lines].
func (g *Guest) send(ctx context.Context, r guestline.Request) error {
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for _, line := range r.Lines() {
		err := g.await(ctx, "the guest to read the line before", func() bool { return g.unread == 0 })
		if err != nil {
			return err
		}
		g.mu.Lock()
		g.unread = r.ID
		g.mu.Unlock()
		if err := g.write(ctx, []byte(line)); err != nil {
			return err
		}
	}
	return nil
}

// maxNoise is how much is kept of what the console says that is no reply.
const maxNoise = 4 << 10

// read takes in what the guest says, until the console ends.
func (g *Guest) read(console io.Reader) {
	defer close(g.ended)
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, guestline.MaxLine)
	var noise string
	for lines.Scan() {
		reply, ok, err := guestline.ParseReply(lines.Text())
		if err != nil {
			g.fail(err)
			return
		}
		if !ok {
			noise += lines.Text() + "\n"
			noise = noise[max(0, len(noise)-maxNoise):]
			continue
		}
		g.take(reply)
	}
	err := errors.Join(ErrGone, lines.Err())
	if noise != "" {
		err = fmt.Errorf("%w; it said:\n%s", err, strings.TrimSpace(noise))
	}
	g.fail(err)
}

func (g *Guest) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failure = err
	g.tellLocked()
}

func (g *Guest) take(r guestline.Reply) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.tellLocked()
	switch {
	case r.Kind == guestline.Ready:
		g.root = r.Text
		return
	case r.Kind == guestline.Taken && r.ID == g.unread:
		g.unread = 0
		return
	}
	t, known := g.tasks[r.ID]
	if !known {
		return // of another connection
	}
	switch r.Kind {
	case guestline.Ready, guestline.Taken: // seen above
	case guestline.Stdout:
		t.result.Stdout += r.Text
	case guestline.Stderr:
		t.result.Stderr += r.Text
	case guestline.Exit:
		t.result.Code, t.over = r.Code, true
		delete(g.tasks, r.ID)
	case guestline.Hi:
		t.over = true
		delete(g.tasks, r.ID)
	}
}
