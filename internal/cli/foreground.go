package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/errcode"
)

// foreground shows a VM's serial output until the VM ends, the user stops it or
// nobody reads the output any more.
func (a *app) foreground(ctx context.Context, vm *smartvm.VM) error {
	// What the guest says while it shuts down is output like any other, so the
	// reader outlives ctx.
	open, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	console, err := vm.OpenConsole(open, smartvm.ConsoleOptions{Follow: true})
	if err != nil {
		return err
	}
	printed := make(chan error, 1)
	go func() {
		_, err := io.Copy(a.stdout, console)
		printed <- errors.Join(err, console.Close())
	}()
	a.forwardInput(open, vm)
	select {
	case err = <-printed:
		if err != nil { // nobody reads, or the disk is full: a VM that nobody hears is not left running
			return errors.Join(err, a.stop(ctx, vm))
		}
	case <-readerGone(open, a.stdout):
		return a.stop(ctx, vm)
	case <-ctx.Done():
		a.say("stopping %s (Ctrl+C again to force)", vm.ID())
		if err := a.stop(ctx, vm); err != nil {
			return err
		}
		err = <-printed
	}
	if err != nil {
		return err
	}
	ended, err := vm.Wait(open)
	if err != nil {
		return err
	}
	return failedVM(vm, ended)
}

// stop stops the VM at its leisure, until the user insists; the clean-up that
// follows then kills it.
func (a *app) stop(ctx context.Context, vm *smartvm.VM) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-a.forced:
			cancel()
		case <-done:
		}
	}()
	err := vm.Stop(ctx, smartvm.StopOptions{})
	if err != nil && ctx.Err() != nil {
		err = vm.Stop(context.WithoutCancel(ctx), killAtOnce())
	}
	if errors.Is(err, smartvm.InvalidState) { // it has ended by itself meanwhile
		return nil
	}
	return err
}

// failedVM is the error of a VM that did not end as it should.
func failedVM(vm *smartvm.VM, ended *smartvm.Ended) error {
	if vm.State() != smartvm.Failed {
		return nil
	}
	e := &smartvm.Error{
		Code: errcode.ProcessExited, Op: "run vm", Subject: vm.ID(),
		Err:  fmt.Errorf("firecracker ended with %s", ended.Status),
		Hint: "the lines above are the last of Firecracker's log",
	}
	if len(ended.Log) == 0 {
		e.Hint = "Firecracker logged nothing; was it killed?"
	}
	for _, line := range ended.Log {
		e.Details = append(e.Details, errcode.Detail{Field: "log", Message: line})
	}
	return e
}

// forwardInput sends standard input to the guest until either has ended. The end
// of the input means nothing to the guest. The goroutine can be left waiting in
// a read that nothing can interrupt: that of a terminal.
func (a *app) forwardInput(ctx context.Context, vm *smartvm.VM) {
	if f, ok := a.stdin.(*os.File); ok && isTerminal(f) && !inForeground(f) {
		return // a job in the background that reads is stopped by the kernel
	}
	go func() {
		_, err := io.Copy(&guestInput{ctx, vm}, a.stdin)
		gone := errors.Is(err, errcode.ProcessExited) || errors.Is(err, errcode.InvalidState) || errors.Is(err, unix.EPIPE)
		if err != nil && ctx.Err() == nil && !gone {
			a.say("warning: the guest gets no more input: %v", err)
		}
	}()
}

// inForeground reports whether this process may read from its terminal.
func inForeground(terminal *os.File) bool {
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// guestInput is the guest's serial port as a writer.
type guestInput struct {
	ctx context.Context //nolint:containedctx // io.Writer has no context; this one bounds the copy
	vm  *smartvm.VM
}

// Write implements io.Writer.
func (g *guestInput) Write(p []byte) (int, error) {
	if err := g.vm.WriteConsole(g.ctx, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
