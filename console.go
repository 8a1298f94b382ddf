package smartvm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/console"
	"github.com/smartvm/smartvm/internal/proc"
)

// ConsoleOptions say what OpenConsole reads. The zero value reads what is there.
type ConsoleOptions struct {
	// Follow goes on with what comes until the VM ends or the context does.
	Follow bool
	// SkipPast leaves out what was written before.
	SkipPast bool
}

// OpenConsole returns the guest's serial output, and nothing else: what is kept
// of the past and, if asked for, what comes. The reader must be closed, which also
// ends a Read that waits. Any number of readers, of any process, may read at the
// same time.
func (v *VM) OpenConsole(ctx context.Context, opts ConsoleOptions) (io.ReadCloser, error) {
	if err := v.State().check(opConsole, string(v.id)); err != nil {
		return nil, err
	}
	con := v.console()
	if !opts.Follow {
		return con.Read(), nil
	}
	v.mu.Lock()
	keeper := v.keeper
	v.mu.Unlock()
	reader, err := con.Follow(ctx, keeper, &v.manager.watcher)
	if err != nil {
		return nil, consoleError("follow console", v.id, err)
	}
	if opts.SkipPast {
		if err := reader.SkipToEnd(); err != nil {
			return nil, errors.Join(consoleError("follow console", v.id, err), reader.Close())
		}
	}
	return reader, nil
}

// WriteConsole sends input to the guest's serial port. It waits while the guest
// does not take it, until ctx ends.
func (v *VM) WriteConsole(ctx context.Context, input []byte) error {
	if err := v.State().check(opInfo, string(v.id)); err != nil {
		return err
	}
	err := v.console().Write(ctx, input)
	if errors.Is(err, unix.ENXIO) {
		return &Error{Code: errcode.ProcessExited, Op: "write console", Subject: string(v.id), Err: errNoProcess}
	}
	if err != nil {
		return consoleError("write console", v.id, err)
	}
	return nil
}

func (v *VM) console() *console.Console {
	return console.New(v.Dir(), v.manager.opts.ConsoleLimit)
}

// KeepConsole moves the serial output of an attached VM into its log until the
// VM ends, and records how it ended. It is the work of the keeper process that
// Detach starts.
func (v *VM) KeepConsole(ctx context.Context) error {
	keeper, err := v.console().Keep()
	if err != nil {
		return consoleError("keep console", v.id, err)
	}
	if _, err := touch(filepath.Join(v.Dir(), keptName)); err != nil {
		return errors.Join(consoleError("keep console", v.id, err), keeper.Leave())
	}
	select {
	case <-v.gone:
	case <-ctx.Done():
		return errors.Join(cancelled(ctx, "keep console", string(v.id)), keeper.Leave())
	}
	ended, err := v.end("keep console")
	if err != nil {
		return errors.Join(err, keeper.Leave())
	}
	if err := keeper.Err(); err != nil {
		return consoleError("keep console", v.id, err)
	}
	return recordEnd(v.Dir(), ended)
}

// Detach leaves the VM to itself: this process no longer owns it, and its end
// is not affected by the end of this process. keeper is the command line of a
// program that attaches to the VM and calls KeepConsole; without one, the
// output that nobody reads is kept only up to the size of a pipe. Detach returns
// when the keeper is at work, so that nothing of the VM's output or end is missed.
//
// The VM can still be used through v, as one that was attached to.
func (v *VM) Detach(ctx context.Context, keeper []string) error {
	end, err := v.beginBlind(ctx, opDetach)
	if err != nil {
		return err
	}
	defer end()
	v.mu.Lock()
	led, ours := v.ledger, v.keeper
	v.mu.Unlock()
	if led == nil {
		return nil // it is detached already
	}
	if len(keeper) > 0 && ours != nil {
		if err := v.handOver(ctx, ours, keeper); err != nil {
			return errors.Join(consoleError("hand over console", v.id, err), v.keepAgain())
		}
	}
	return v.letGo()
}

// keepAgain takes the console back from a keeper that did not come to life.
func (v *VM) keepAgain() error {
	keeper, err := v.console().Keep()
	if err != nil {
		return consoleError("keep console", v.id, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keeper = keeper
	return nil
}

// keeperTimeout bounds the wait for a keeper, which needs some 20 ms on an idle host.
const keeperTimeout = DefaultStartTimeout

// handOver gives the console to a process of its own.
func (v *VM) handOver(ctx context.Context, ours *console.Keeper, command []string) error {
	// The FIFO must be open for reading all the time: if Firecracker ended while
	// nobody has it open, what is in it would be lost. As the keeper's standard
	// input it also is what the keeper can be found by.
	fifo, err := v.console().Hold()
	if err != nil {
		return err
	}
	defer fifo.Close()
	changed, err := v.manager.watcher.Dir(v.Dir())
	if err != nil {
		return err
	}
	defer changed.Close()
	if err := ours.Leave(); err != nil {
		return err
	}
	process, err := v.startKeeper(fifo, command)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, keeperTimeout)
	defer cancel()
	for {
		if _, err := os.Lstat(filepath.Join(v.Dir(), keptName)); err == nil {
			return nil
		}
		select {
		case <-changed.C:
		case <-process.Done():
			if process.Status().Success() {
				return nil // the VM has ended, and the keeper's work with it
			}
			return fmt.Errorf("the keeper ended with %s; see %s", process.Status(), filepath.Join(v.Dir(), stderrName))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the keeper does not begin: %w", context.Cause(ctx)), process.Kill(context.WithoutCancel(ctx)))
		}
	}
}

// startKeeper starts the process that keeps the console from now on.
func (v *VM) startKeeper(stdin *os.File, command []string) (*proc.Process, error) {
	stderr, err := os.OpenFile(filepath.Join(v.Dir(), stderrName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	return startRecorded(v.ledger, roleKeeper, proc.Spec{
		Path: command[0], Args: command[1:], Dir: "/", Stdin: stdin, Stdout: stderr, Stderr: stderr,
	})
}
