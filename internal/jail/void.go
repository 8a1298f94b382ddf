package jail

import (
	"os"
	"sync"

	"github.com/smartvm/smartvm/internal/proc"
)

// Void is a network namespace in which there is nothing but a loopback interface that
// is down. All jails without a network share it: to make one for each would take the
// kernel a twentieth of a start, and to remove it as much again. All that they could
// reach by it is the abstract Unix sockets of each other, and Firecracker has none.
//
// It is made when it is entered first. Its methods may be called from several
// goroutines.
type Void struct {
	mu sync.Mutex
	ns *os.File
}

// enter moves the calling thread into it.
func (v *Void) enter() (err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ns == nil {
		if v.ns, err = proc.NewNetwork(); err != nil {
			return err
		}
	}
	return proc.EnterNetwork(v.ns)
}

// Close lets go of it. What is in it keeps it.
func (v *Void) Close() (err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ns != nil {
		err = v.ns.Close()
		v.ns = nil
	}
	return err
}
