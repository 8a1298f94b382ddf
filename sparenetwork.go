package smartvm

import (
	"fmt"
	"sync"

	"github.com/smartvm/smartvm/hostnet"
)

// spareNetwork keeps one network namespace ready for the next VM that needs one of its own:
// the kernel takes a millisecond to make it with the TAP that most guests need, and more. It
// has no name, and is gone with this process. The methods may be called from several
// goroutines.
type spareNetwork struct {
	mu     sync.Mutex
	ns     *hostnet.Namespace // nil while there is none
	closed bool
	making sync.WaitGroup
}

// spareTAP names the TAP of the nth interface in a namespace of its own.
func spareTAP(n int) string { return fmt.Sprint("tap", n) }

// take returns the spare one, or makes one.
func (s *spareNetwork) take() (*hostnet.Namespace, error) {
	s.mu.Lock()
	ns := s.ns
	s.ns = nil
	s.mu.Unlock()
	if ns != nil {
		return ns, nil
	}
	return hostnet.NewNamespace()
}

// refill makes the next one, in the background. One that can't be made is missed by nobody.
func (s *spareNetwork) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.ns != nil {
		return
	}
	s.making.Go(func() {
		ns, err := hostnet.NewNamespace()
		if err != nil {
			return
		}
		if err := ns.AddTAP(spareTAP(0), 0); err != nil {
			_ = ns.Close()
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed || s.ns != nil {
			_ = ns.Close()
			return
		}
		s.ns = ns
	})
}

// Close drops it. Nothing is made any more.
func (s *spareNetwork) Close() (err error) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.making.Wait()
	if s.ns != nil {
		err = s.ns.Close()
		s.ns = nil
	}
	return err
}
