package smartvm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/cgroup"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/proc"
)

// Start boots the VM: it stages drives, starts Firecracker, configures it and
// starts the guest. It returns when the guest's vCPUs run.
//
// When anything fails, or ctx ends, everything is undone and the VM is left in
// state error. The error has START_FAILED or a more specific code (CANCELLED when
// ctx was cancelled), the cause, and in its Details the last lines of Firecracker's
// log. Once Start has returned, ctx has no influence on the VM.
func (v *VM) Start(ctx context.Context) error { return v.start(ctx, &launch{op: opStart}) }

// Launch does what Start does but for the configuration and the boot: a
// Firecracker process that waits for LoadSnapshot.
func (v *VM) Launch(ctx context.Context) error { return v.start(ctx, &launch{op: opLaunch}) }

func (v *VM) start(ctx context.Context, l *launch) error {
	end, err := v.begin(ctx, l.op)
	if err != nil {
		return err
	}
	defer end()
	v.setState(Configuring)
	v.manager.starting.Add(1)
	defer v.manager.starting.Add(-1)
	l.vm, l.began = v, time.Now()
	err = l.run(ctx)
	l.ahead.Close()
	l.network.abandon() // nothing may be made any more when what was made is undone
	l.copying.abandon()
	if l.netns != nil { // from now on Firecracker alone keeps it
		err = errors.Join(err, l.netns.Close())
		if v.manager.starting.Load() == 1 { // else it would take time from the others
			v.manager.spare.refill()
		}
	}
	if err != nil {
		return v.startFailed(ctx, l.op, l.explain(ctx, err))
	}
	switch {
	case l.op == opLaunch:
	case l.restore != nil && l.restore.options.Paused:
		v.setUnlessEnded(Paused)
	default:
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
	op     operation
	began  time.Time
	binary image.Binary
	jailer string // path; "" without a jail

	plan    *plan
	restore *restore // nil for a guest that boots
	served  bool     // whether a page server serves the guest's memory
	ledger  *ledger.Ledger
	client  *firecracker.Client

	ahead   *proc.Ahead        // the thread that will start it in a jail; nil without one
	group   *cgroup.Group      // nil without limits
	netns   *hostnet.Namespace // of the VM's own; nil without
	taps    <-chan struct{}    // closed when the TAPs are there, or will not be; nil without
	network *meanwhile         // makes the network of a guest that goes on; nil without
	copying *meanwhile         // copies its drives; nil without
	copies  []StagedDrive      // valid when copying is done
	pages   *proc.Process      // serves the guest's memory; nil without
	process *proc.Process
	sealed  bool // whether nothing can be made in the jail any more
}

// run is a start from its beginning to its end.
func (l *launch) run(ctx context.Context) error {
	if !l.vm.manager.kvmSeen.Load() {
		if err := checkKVM(); err != nil {
			return err
		}
		l.vm.manager.kvmSeen.Store(true)
	}
	for _, step := range l.steps() {
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

// steps are what a start does, in order.
func (l *launch) steps() []func(context.Context) error {
	if l.early() {
		return []func(context.Context) error{
			l.prepare, l.claim, l.pin, l.leaseUser, l.copyDrives, l.equip, l.limit, l.spawn, l.join, l.fill, l.connect, l.boot, l.seal,
		}
	}
	return []func(context.Context) error{
		l.prepare, l.claim, l.pin, l.leaseUser, l.join, l.copyDrives, l.fill, l.equip, l.limit, l.spawn, l.connect, l.boot, l.seal,
	}
}

// early reports whether Firecracker can be started before there is anything for its guest:
// it needs that no sooner than it is told to load the snapshot, and until it can be told
// so it takes as long as all the rest. But limits of disks need to know which disks.
func (l *launch) early() bool {
	limits := l.vm.config.Limits
	return l.restore != nil && (limits == nil || len(limits.IO) == 0)
}

// seal closes the jail of a guest that runs, and may take over its Firecracker some day.
// One that waits for a snapshot has its sockets still to make.
func (l *launch) seal(context.Context) error {
	j := l.plan.files.Jail
	if j == nil || l.sealed || l.op == opLaunch {
		return nil
	}
	return j.Seal()
}

// sealEarly does so while Firecracker still builds its guest, if the API's socket is all
// that it makes: then the wait for the guest pays for it.
func (l *launch) sealEarly() error {
	j := l.plan.files.Jail
	if j == nil || l.sealed || l.plan.config.Vsock != nil {
		return nil
	}
	if _, err := os.Lstat(j.Path(l.plan.files.Inside(roleSocket))); err != nil {
		return nil //nolint:nilerr // it is not there yet
	}
	l.sealed = true
	return j.Seal()
}

// prepare finds out all that can be wrong before anything is made.
func (l *launch) prepare(ctx context.Context) (err error) {
	v := l.vm
	version := v.config.FirecrackerVersion
	if version.IsZero() {
		version = v.manager.opts.FirecrackerVersion
	}
	if l.binary, l.jailer, err = v.manager.ensure(ctx, version, !v.manager.opts.Jail.Off); err != nil {
		return err
	}
	if err := errors.Join(v.config.CheckVersion(l.binary.Version), l.restore.check(l.binary.Version)); err != nil {
		return err
	}
	config := v.config
	if l.restore != nil {
		config = bootless(config)
	}
	if l.plan, err = makePlan(config, v.Dir(), v.manager.opts.PersistWritableDrives, l.newJail()); err != nil {
		return err
	}
	if err := l.chooseMemory(); err != nil {
		return err
	}
	l.plan.fromFile = l.op == opStart && l.restore == nil && l.plan.fileHolds()
	if l.plan.files.Jail != nil {
		l.ahead = l.goAhead()
	}
	return l.bringSnapshot()
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

// pin keeps what others could take away.
func (l *launch) pin(ctx context.Context) error {
	if err := l.pinImages(ctx); err != nil {
		return err
	}
	return l.pinSnapshot(ctx)
}

// fill gives the guest its drives and sockets.
func (l *launch) fill(ctx context.Context) error {
	if err := l.useCopies(); err != nil {
		return err
	}
	if err := l.makeSockets(ctx); err != nil {
		return err
	}
	v := l.vm
	v.mu.Lock()
	v.drives, v.files = l.copies, l.plan.files
	v.mu.Unlock()
	switch {
	case l.plan.files.Jail == nil:
		return l.plan.files.MakeLinks()
	case l.early():
		return l.bringCopies(ctx)
	}
	return nil
}

// equip makes what Firecracker needs from its start on.
func (l *launch) equip(context.Context) error {
	if err := l.ownNetwork(); err != nil {
		return err
	}
	return l.makeOutputs()
}

// describe records what other processes have to know about the VM. It comes when
// Firecracker has something to do for itself.
func (l *launch) describe(context.Context) error {
	v := l.vm
	if err := l.network.wait(); err != nil {
		return err
	}
	return l.ledger.Describe(record{
		ID: v.id, Created: l.began, Config: v.config, Binary: l.binary, Files: l.plan.files, Drives: v.Drives(), TAPs: v.TAPs(), Restored: v.restored,
	})
}

// startFailed undoes a start and gives its error a code.
func (v *VM) startFailed(ctx context.Context, op operation, cause error) error {
	failure := &Error{Code: errcode.Of(cause, errcode.StartFailed), Op: string(op) + " vm", Subject: string(v.id), Err: cause, StatusCode: statusOf(cause)}
	if inner := errcode.Of(cause, ""); inner == "" && (errors.Is(cause, unix.ENOSPC) || errors.Is(cause, unix.EDQUOT)) {
		failure.Code, failure.Hint = errcode.NoSpace, "free some room or inodes there, or choose another runtime directory (SMARTVM_RUNTIME_DIR)"
	}
	if errors.Is(ctx.Err(), context.Canceled) { // whatever that has interrupted
		failure.Code, failure.Hint = errcode.Cancelled, ""
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

var errNoProcess = errors.New("there is no Firecracker process")
