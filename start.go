package smartvm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/ledger"
)

// Start boots the VM: it stages drives, starts Firecracker, configures it and
// starts the guest. It returns when the guest's vCPUs run.
//
// When anything fails, or ctx ends, everything is undone and the VM is left in
// state error. The error has START_FAILED or a more specific code, the cause,
// and in its Details the last lines of Firecracker's log. Once Start has
// returned, ctx has no influence on the VM.
func (v *VM) Start(ctx context.Context) error {
	return v.start(ctx, opStart, func(ctx context.Context, l *launch) error {
		if err := l.client.Pipeline(ctx, l.plan.config.Requests()); err != nil {
			return err
		}
		fault.Point("start: configured")
		// On its own: Firecracker goes on with a pipeline after a refusal, and a
		// guest must not run without the device that was refused.
		return l.client.StartInstance(ctx)
	})
}

// Launch does what Start does but for the configuration and the boot: a
// Firecracker process that waits for LoadSnapshot.
func (v *VM) Launch(ctx context.Context) error {
	return v.start(ctx, opLaunch, func(context.Context, *launch) error { return nil })
}

func (v *VM) start(ctx context.Context, op operation, boot func(context.Context, *launch) error) error {
	end, err := v.begin(ctx, op)
	if err != nil {
		return err
	}
	defer end()
	v.setState(Configuring)
	l := &launch{vm: v, began: time.Now()}
	err = l.run(ctx)
	if err == nil {
		err = boot(ctx, l)
		fault.Point("start: booted")
	}
	if err == nil && op == opStart {
		err = l.ledger.Mark(markStarted)
	}
	if err != nil {
		return v.startFailed(ctx, op, err)
	}
	if op == opStart {
		v.setUnlessEnded(Running)
	}
	return nil
}

// setUnlessEnded keeps the news of a guest that was faster than we are.
func (v *VM) setUnlessEnded(s State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended == nil {
		v.state = s
	}
}

// launch is one start under way.
type launch struct {
	vm     *VM
	began  time.Time
	binary image.Binary
	plan   *plan
	ledger *ledger.Ledger
	client *firecracker.Client
}

// run goes as far as a Firecracker process that answers.
func (l *launch) run(ctx context.Context) error {
	if err := checkKVM(); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{l.prepare, l.claim, l.fill, l.spawn, l.connect} {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := step(ctx); err != nil {
			return err
		}
		fault.Point("start: step done")
	}
	return nil
}

// prepare finds out all that can be wrong before anything is made.
func (l *launch) prepare(ctx context.Context) (err error) {
	v := l.vm
	if l.binary, err = v.manager.EnsureBinary(ctx); err != nil {
		return err
	}
	if err := v.config.CheckVersion(l.binary.Version); err != nil {
		return err
	}
	l.plan, err = makePlan(v.config, v.Dir(), v.manager.opts.PersistWritableDrives)
	return err
}

// claim gets the VM's directory and ledger, for this process alone.
func (l *launch) claim(ctx context.Context) error {
	v := l.vm
	led, err := ledger.Create(v.manager.RuntimeDir(), string(v.id))
	if errors.Is(err, fs.ErrExist) {
		if err := v.manager.reclaim(ctx, string(v.id)); err != nil {
			return err
		}
		led, err = ledger.Create(v.manager.RuntimeDir(), string(v.id))
	}
	if errors.Is(err, fs.ErrExist) {
		return errTaken(string(v.id))
	}
	if err != nil {
		return err
	}
	l.ledger = led
	v.mu.Lock()
	v.ledger = led
	v.mu.Unlock()
	return nil
}

func errTaken(id string) error {
	return &Error{
		Code: errcode.VMExists, Op: "claim id", Subject: id, Err: errors.New("a VM of that id is on this host"),
		Hint: "choose another id, or remove that VM",
	}
}

// fill puts what Firecracker needs into the directory.
func (l *launch) fill(ctx context.Context) (err error) {
	v := l.vm
	drives, err := v.stageDrives(ctx, l.ledger, l.plan)
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.drives, v.files = drives, l.plan.files
	v.mu.Unlock()
	if err := l.makeOutputs(); err != nil {
		return err
	}
	if l.plan.vsock != "" {
		// Before it is recorded: what is refused here is not ours to release.
		if err := removeStale(ctx, l.plan.vsock); err != nil {
			return err
		}
		if err := l.ledger.Make(&socketFile{Path: l.plan.vsock}, func() error { return nil }); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(v.Dir(), recordName), record{
		ID: v.id, Created: l.began, Config: v.config, Binary: l.binary, Files: l.plan.files, Drives: drives,
	})
}

// connect waits until Firecracker's API answers.
func (l *launch) connect(ctx context.Context) error {
	v := l.vm
	ctx, cancel := context.WithTimeoutCause(ctx, v.manager.opts.StartTimeout, errNoSocket)
	defer cancel()
	waker, err := v.manager.watcher.Dir(v.Dir())
	if err != nil {
		return err
	}
	defer waker.Close()
	client := firecracker.NewClient(v.SocketPath(), firecracker.ClientOptions{
		Version: l.binary.Version, BodyLimit: l.plan.body, Logger: v.manager.opts.Logger,
	})
	if err := l.await(ctx, client, waker.C); err != nil {
		return errors.Join(err, client.Close())
	}
	l.client = client
	v.mu.Lock()
	v.client = client
	v.mu.Unlock()
	return nil
}

// socketRetry is the pause between attempts while the socket exists and does
// not answer yet: bind makes the file, and only listen makes it answer.
const socketRetry = 100 * time.Microsecond

func (l *launch) await(ctx context.Context, client *firecracker.Client, changed <-chan struct{}) error {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		err := client.Connect(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			retry.Reset(socketRetry)
		}
		select {
		case <-changed:
		case <-retry.C:
		case <-l.vm.gone:
			return l.vm.exited()
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, errNoSocket) {
				return cause
			}
			return &Error{
				Code: errcode.SocketTimeout, Op: "wait for firecracker", Subject: l.vm.SocketPath(),
				Err:  fmt.Errorf("the API did not answer within %s: %w", l.vm.manager.opts.StartTimeout, err),
				Hint: "see Firecracker's log; on a loaded host raise StartTimeout",
			}
		}
	}
}

// startFailed undoes a start and gives its error a code.
func (v *VM) startFailed(ctx context.Context, op operation, cause error) error {
	// A socket that hung up is the first that is seen of a process that has ended.
	if ctx.Err() == nil && errors.Is(cause, errcode.SocketRequestFailed) && v.endedSoon() != nil {
		cause = errors.Join(v.exited(), cause)
	}
	failure := &Error{Code: errcode.Of(cause, errcode.StartFailed), Op: string(op) + " vm", Subject: string(v.id), Err: cause, StatusCode: statusOf(cause)}
	if inner := errcode.Of(cause, ""); inner == "" && (errors.Is(cause, unix.ENOSPC) || errors.Is(cause, unix.EDQUOT)) {
		failure.Code, failure.Hint = errcode.NoSpace, "free some room or inodes there, or choose another runtime directory (SMARTVM_RUNTIME_DIR)"
	}
	for _, line := range v.logTail() {
		failure.Details = append(failure.Details, errcode.Detail{Field: logName, Message: line})
	}
	v.setState(Failed) // first, so that the end of the process does not look like a stop
	undone := v.release(ctx)
	if undone != nil {
		return errors.Join(failure, undone)
	}
	return failure
}

var (
	errNoProcess = errors.New("there is no Firecracker process")
	errNoSocket  = errors.New("firecracker's API did not answer")
)
