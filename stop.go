package smartvm

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/proc"
)

// Stop ends the VM, the gentle way first: Ctrl+Alt+Del and a wait for the guest
// to shut down, then SIGTERM (but for a jailed one), then SIGKILL. A paused guest can't react, so
// Ctrl+Alt+Del is skipped for it, as it is on architectures without.
//
// When ctx ends, Stop returns and leaves the VM as far as it got; it can be
// called again. The VM's directory stays until Cleanup.
func (v *VM) Stop(ctx context.Context, opts StopOptions) error {
	opts = opts.withDefaults()
	begin := v.begin
	if opts.Grace < 0 {
		begin = v.beginBlind
	}
	end, err := begin(ctx, opStop)
	if err != nil {
		return err
	}
	defer end()
	v.mu.Lock()
	process, state, jailed := v.process, v.state, v.files.Jail != nil
	v.mu.Unlock()
	v.noteAsked()
	if state == Running && opts.Grace > 0 {
		if ended, err := v.askGuest(ctx, opts.Grace); ended || err != nil {
			return err
		}
	}
	// The first process of a namespace does not get SIGTERM, and Firecracker would do
	// nothing with it but end.
	if opts.TermGrace > 0 && !jailed {
		if err := process.Signal(unix.SIGTERM); err != nil {
			return stopError(v, err)
		}
		fault.Point("stop: SIGTERM")
		if ended, err := v.await(ctx, opts.TermGrace); ended || err != nil {
			return err
		}
	}
	return v.kill(ctx, process)
}

// askGuest asks the guest to shut down, and waits until it has. It returns false when
// it can't be asked, or took too long.
func (v *VM) askGuest(ctx context.Context, grace time.Duration) (ended bool, err error) {
	deadline := time.Now().Add(grace)
	if !v.pressCtrlAltDel(ctx, deadline) {
		return false, nil
	}
	return v.await(ctx, time.Until(deadline))
}

// pressCtrlAltDel reports whether it makes sense to wait for the guest. It does also
// without an answer, unless nobody can have got the request: a guest may be so quick that
// Firecracker ends before it answers, and a busy host so slow that it answers too late.
func (v *VM) pressCtrlAltDel(ctx context.Context, deadline time.Time) bool {
	client, err := v.Client()
	if err != nil {
		return false
	}
	defer v.guardCall()()
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err = client.SendCtrlAltDel(ctx)
	fault.Point("stop: Ctrl+Alt+Del")
	return !errors.Is(err, errcode.APIError) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED)
}

// await waits for the end of the process. It returns false when it took too long.
func (v *VM) await(ctx context.Context, limit time.Duration) (ended bool, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-v.gone:
		_, err := v.end("stop vm")
		return err == nil, err
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, stopCancelled(ctx, v)
	}
}

func (v *VM) kill(ctx context.Context, process *proc.Process) error {
	if err := process.Signal(unix.SIGKILL); err != nil {
		return stopError(v, err)
	}
	fault.Point("stop: SIGKILL")
	select {
	case <-v.gone:
		_, err := v.end("stop vm")
		return err
	case <-ctx.Done():
		return stopCancelled(ctx, v)
	}
}

func stopCancelled(ctx context.Context, v *VM) error {
	e := cancelled(ctx, "stop vm", string(v.id))
	e.Hint = "the VM may still be alive; stop it again, or clean it up"
	return e
}

func stopError(v *VM, err error) error {
	return &Error{Code: errcode.Of(err, errcode.StopFailed), Op: "stop vm", Subject: string(v.id), Err: err}
}

// Wait waits until Firecracker has ended and tells how.
//
// A guest ends it by a reboot, and by a panic if its kernel reboots then (panic=). On
// x86_64 a guest that powers off or halts only stands still: its VM is there until
// it is stopped, by force.
//
// Before Linux 6.15 only the process that has started a VM learns the exit status.
// For others it is unknown, and the state error, unless smartvm has stopped the VM.
func (v *VM) Wait(ctx context.Context) (*Ended, error) {
	if err := v.State().check(opWait, string(v.id)); err != nil {
		return nil, err
	}
	select {
	case <-v.gone:
		return v.end("wait for vm")
	case <-ctx.Done():
		return nil, cancelled(ctx, "wait for vm", string(v.id))
	}
}

// end tells what the closing of v.gone meant.
func (v *VM) end(op string) (*Ended, error) {
	if ended := v.Ended(); ended != nil {
		return ended, nil
	}
	return nil, &Error{
		Code: errcode.NoClient, Op: op, Subject: string(v.id), Err: errors.New("its manager has been closed"), Hint: "attach to the VM again",
	}
}

// cleanupTimeout bounds a clean-up, which goes on when its caller's context has
// ended: half a clean-up helps nobody.
const cleanupTimeout = 30 * time.Second

// Cleanup kills the VM if it is alive and gives back everything that was made
// for it: process, sockets, directory, staged drives. It is allowed in every
// state and can be repeated; what could not be given back stays recorded for
// the next attempt. VM_OWNED means that the VM belongs to another live process.
//
// It waits for its turn under ctx, and then no longer depends on it.
func (v *VM) Cleanup(ctx context.Context) error {
	if err := v.take(ctx, "clean up"); err != nil {
		return err
	}
	defer func() { <-v.turn }()
	if err := v.own(); err != nil {
		return err
	}
	err := v.release(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.state != Failed {
		v.state = Stopped
	}
	return err
}

// own takes over the ledger of a VM that was only attached to.
func (v *VM) own() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ledger != nil || v.attached == nil {
		return nil // ours already, never started, or nothing left
	}
	led, err := v.manager.openLedger(string(v.id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !led.View().Created.Equal(*v.attached) { // the id is in use again
		return led.Close()
	}
	v.ledger = led
	return nil
}

// release gives back all that the ledger has. The caller has the turn.
func (v *VM) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	v.mu.Lock()
	led, client, process := v.ledger, v.client, v.process
	v.asked = v.asked || v.ended == nil
	v.mu.Unlock()
	if client != nil {
		_ = client.Close() // nothing is sent any more
	}
	if led == nil {
		return nil
	}
	err := led.Release(ctx)
	if err == nil && process != nil {
		// The ledger is content with a dead process; we also want it reaped and
		// its last output read.
		select {
		case <-v.gone:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err == nil {
		err = led.Destroy()
	}
	if err != nil {
		return &Error{Code: errcode.Of(err, errcode.CleanupFailed), Op: "clean up vm", Subject: string(v.id), Err: err, Hint: "try again, or run: smartvm gc"}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ledger, v.attached = nil, nil
	return nil
}

// letGo gives up ownership and the console, and leaves the VM as it is.
func (v *VM) letGo() error {
	v.mu.Lock()
	led, keeper, state := v.ledger, v.keeper, v.state
	v.ledger, v.keeper = nil, nil
	if led != nil {
		v.attached = new(led.View().Created)
	}
	v.mu.Unlock()
	var errs []error
	if keeper != nil {
		if err := keeper.Leave(); err != nil {
			errs = append(errs, consoleError("leave console", v.id, err))
		}
	}
	if led != nil && state.alive() {
		errs = append(errs, led.Mark(markLeft))
	}
	if led != nil {
		errs = append(errs, led.Close())
	}
	return errors.Join(errs...)
}

// close ends all that this process has to do with the VM, once the operation
// that is under way has come to its end: half a start has no owner to undo it. A
// child goes on being watched, since somebody has to reap it.
func (v *VM) close() error {
	v.turn <- struct{}{}
	defer func() { <-v.turn }()
	err := v.letGo()
	v.mu.Lock()
	client, process := v.client, v.process
	v.mu.Unlock()
	if client != nil {
		err = errors.Join(err, client.Close())
	}
	if process != nil {
		process.Forget()
	}
	return err
}
