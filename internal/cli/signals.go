package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interruption is why a context ended: a signal.
type interruption struct{ signal os.Signal }

// Error returns "stopped by a signal: interrupt".
func (i interruption) Error() string { return "stopped by a signal: " + i.signal.String() }

// Unwrap lets the error match that of a context.
func (interruption) Unwrap() error { return context.Canceled }

// interrupts ends ctx on the first signal and closes forced on the second. After
// that signals do what they do by default, so that the third ends the process.
func interrupts(parent context.Context) (ctx context.Context, forced <-chan struct{}, release func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	// Without a handler the runtime ends the process when it writes to a closed
	// standard output, and a VM in the foreground would stay. Ignoring the signal
	// would be inherited by Firecracker; a handler is not.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	again := make(chan struct{})
	done := make(chan struct{})
	go func() {
		for n := 1; ; n++ {
			select {
			case s := <-signals:
				if n == 1 {
					cancel(interruption{s})
					continue
				}
				close(again)
				signal.Stop(signals)
				return
			case <-done:
				return
			}
		}
	}()
	return ctx, again, func() {
		signal.Stop(signals)
		signal.Stop(pipes)
		close(done)
		cancel(nil)
	}
}
