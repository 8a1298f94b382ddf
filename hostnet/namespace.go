package hostnet

import (
	"os"
	"sync"

	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/netconfig"
)

// Namespace is an empty network namespace for the Firecracker of a clone. It lasts until it
// is closed and no process is in it any more: with the last of them go the TAPs and rules in
// it, and the ports of bridges that lead to it. Its methods may be called from several
// goroutines, but for Close.
type Namespace struct {
	kernel *netlinux.Namespace

	mu    sync.Mutex
	spare map[string]int // TAPs that no interface has yet, and whose they are
}

// NewNamespace makes one. It has no name, and is in no record.
func NewNamespace() (*Namespace, error) {
	kernel, err := netlinux.NewNamespace()
	if err != nil {
		return nil, err
	}
	return &Namespace{kernel: kernel, spare: map[string]int{}}, nil
}

// File is what a thread enters the namespace by, with setns(2); /proc/PID/fd/N is a path to
// it. Close closes it.
func (n *Namespace) File() *os.File { return n.kernel.File() }

// Close lets go of the namespace. What is in it stays there while a process is.
func (n *Namespace) Close() error { return n.kernel.Close() }

// AddTAP makes a TAP that leads nowhere yet, or gives one that it has made to another user:
// the one who may open it, see [Request]. Firecracker needs no more to load a snapshot;
// [Network.Attach] makes those itself that are not there.
//
// Errors: INVALID_INTERFACE_NAME, TAP_CREATE_FAILED, NOT_PERMITTED.
func (n *Namespace) AddTAP(name string, owner int) error {
	if err := netconfig.CheckInterfaceName(name); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.provide(name, owner); err != nil {
		return err
	}
	n.spare[name] = owner
	return nil
}

// useTAP takes a TAP for an interface, and makes it if it is not there.
func (n *Namespace) useTAP(name string, owner int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.provide(name, owner); err != nil {
		return err
	}
	delete(n.spare, name)
	return nil
}

// provide makes a TAP of that owner, or out of a spare one. The caller holds mu.
func (n *Namespace) provide(name string, owner int) error {
	was, there := n.spare[name]
	switch {
	case !there:
		return n.kernel.AddTAP(name, owner)
	case was != owner:
		return n.kernel.OwnTAP(name, owner)
	default:
		return nil
	}
}
