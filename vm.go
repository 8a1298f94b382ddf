package smartvm

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/hostnet"
	"github.com/smartvm/smartvm/internal/cgroup"
	"github.com/smartvm/smartvm/internal/console"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/snapshot"
	"github.com/smartvm/smartvm/vmconfig"
)

// VM is one microVM. Its methods may be called from several goroutines: those
// that change something run one after the other, and wait for their turn under
// their context; State and the other getters wait for nobody.
//
// A context bounds the call that it is given to, never the life of the VM.
type VM struct {
	manager *Manager
	id      vmconfig.ID
	config  *vmconfig.Config // as it was given; never changed
	turn    chan struct{}    // holds one token: whoever has it may change the VM

	mu       sync.Mutex
	state    State
	files    jail.Table
	drives   []StagedDrive
	taps     []hostnet.TAP
	restored []snapshot.Interface // how a guest of a snapshot knows its interfaces
	ledger   *ledger.Ledger       // nil before the start, after the clean-up, and when another process owns the VM
	attached *time.Time           // when a VM that we know and don't own was made: tells it from a later one of its id
	process  *proc.Process
	client   *firecracker.Client
	version  firecracker.Version // of the process
	group    *cgroup.Group       // nil without limits
	keeper   *console.Keeper     // nil when another process keeps the console
	asked    bool                // we made the process end, so that its status is no failure
	ended    *Ended
	gone     chan struct{} // closed when ended is set, or when nobody watches any more
}

func newVM(m *Manager, id vmconfig.ID, config *vmconfig.Config) *VM {
	return &VM{
		manager: m, id: id, config: config, state: Created,
		turn: make(chan struct{}, 1), gone: make(chan struct{}),
	}
}

// ID returns the VM's id.
func (v *VM) ID() string { return string(v.id) }

// Config returns a copy of the VM's configuration as it was given.
func (v *VM) Config() *vmconfig.Config { return v.config.Clone() }

// Dir returns the VM's runtime directory. It exists from Start to Cleanup.
func (v *VM) Dir() string { return filepath.Join(v.manager.RuntimeDir(), string(v.id)) }

// SocketPath returns the path of Firecracker's API socket.
func (v *VM) SocketPath() string { return socketPath(v.manager.RuntimeDir(), v.id) }

// Drives tells where the drives of the VM were staged: its private copies.
func (v *VM) Drives() []StagedDrive {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]StagedDrive(nil), v.drives...)
}

// State returns the state as this process last saw it. Another process can
// pause, resume or stop the same VM; methods look again before they act.
func (v *VM) State() State {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

// foreign reports whether the VM exists on this host and is not ours to clean up.
func (v *VM) foreign() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ledger == nil && v.attached != nil
}

func (v *VM) setState(s State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state = s
}

// Client returns the client of the VM's Firecracker for calls that have no
// method here. NO_CLIENT means that there is no process to talk to.
func (v *VM) Client() (*firecracker.Client, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.client == nil || !v.state.alive() {
		return nil, v.noClient("get client")
	}
	return v.client, nil
}

// refreshTimeout bounds a look at Firecracker's state, which takes microseconds
// unless it is busy with a snapshot or hangs.
const refreshTimeout = 2 * time.Second

func (v *VM) noClient(op string) error {
	return &Error{
		Code: errcode.NoClient, Op: op, Subject: string(v.id),
		Err: errNoProcess, Hint: "Start or Launch the VM first",
	}
}

// begin waits for the turn and checks that op is allowed now. The caller must
// call the returned function when it has finished.
func (v *VM) begin(ctx context.Context, op operation) (end func(), err error) {
	return v.beginKnowing(ctx, op, v.refresh)
}

// beginBlind is begin for what makes no difference between the states of a live
// process: Firecracker is not asked.
func (v *VM) beginBlind(ctx context.Context, op operation) (end func(), err error) {
	return v.beginKnowing(ctx, op, func(context.Context) {})
}

func (v *VM) beginKnowing(ctx context.Context, op operation, refresh func(context.Context)) (end func(), err error) {
	if err := v.take(ctx, op); err != nil {
		return nil, err
	}
	refresh(ctx)
	if err := v.State().check(op, string(v.id)); err != nil {
		<-v.turn
		return nil, err
	}
	return func() { <-v.turn }, nil
}

func (v *VM) take(ctx context.Context, op operation) error {
	select {
	case v.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return cancelled(ctx, string(op), string(v.id))
	}
}

// refresh asks Firecracker for its state if another process may have changed
// it. A Firecracker that does not answer leaves things as they are: whatever is
// tried next says so better.
func (v *VM) refresh(ctx context.Context) {
	v.mu.Lock()
	client, state := v.client, v.state
	v.mu.Unlock()
	if client == nil || !state.alive() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	done := v.guardCall()
	info, err := client.Info(ctx)
	done()
	if err != nil {
		if errors.Is(err, errcode.SocketRequestFailed) {
			v.endedSoon() // so that the state is the end's
		}
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.state.alive() {
		v.state = fromFirecracker(info.State)
	}
}
