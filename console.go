package smartvm

import (
	"context"
	"errors"
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
// of the past and, if asked for, what comes. The reader must be closed. Any
// number of readers, of any process, may read at the same time.
func (v *VM) OpenConsole(ctx context.Context, opts ConsoleOptions) (io.ReadCloser, error) {
	if err := v.State().check(opConsole, string(v.id)); err != nil {
		return nil, err
	}
	con := v.console()
	if !opts.Follow {
		return con.Read(), nil
	}
	reader, err := con.Follow(ctx, &v.manager.watcher)
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
	select {
	case <-v.gone:
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), keeper.Leave())
	}
	if err := keeper.Err(); err != nil {
		return consoleError("keep console", v.id, err)
	}
	return writeJSON(filepath.Join(v.Dir(), endedName), v.Ended())
}

// Detach leaves the VM to itself: this process no longer owns it, and its end
// is not affected by the end of this process. keeper is the command line of a
// program that attaches to the VM and calls KeepConsole; without one, the
// output that nobody reads is kept only up to the size of a pipe.
//
// The VM can still be used through v, as one that was attached to.
func (v *VM) Detach(ctx context.Context, keeper []string) error {
	end, err := v.begin(ctx, opDetach)
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
		if err := ours.Leave(); err != nil {
			return consoleError("leave console", v.id, err)
		}
		if err := v.startKeeper(keeper); err != nil {
			return errors.Join(err, v.keepAgain())
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

// startKeeper starts the process that keeps the console from now on.
func (v *VM) startKeeper(command []string) error {
	stdin, err := os.OpenFile(filepath.Join(v.Dir(), keeperName), os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return consoleError("start keeper", v.id, err)
	}
	defer stdin.Close()
	stderr, err := os.OpenFile(filepath.Join(v.Dir(), stderrName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return consoleError("start keeper", v.id, err)
	}
	defer stderr.Close()
	resource := &proc.Resource{Role: roleKeeper}
	if resource.Stdin, err = proc.Identify(stdin); err != nil {
		return consoleError("start keeper", v.id, err)
	}
	return v.ledger.Make(resource, func() error {
		process, err := proc.Start(proc.Spec{
			Path: command[0], Args: command[1:], Dir: "/", Stdin: stdin, Stdout: stderr, Stderr: stderr,
		})
		if err != nil {
			return consoleError("start keeper", v.id, err)
		}
		resource.ID = process.ID()
		return nil
	})
}
