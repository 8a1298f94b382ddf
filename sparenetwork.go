package smartvm

import (
	"os"
	"sync"

	"github.com/smartvm/smartvm/hostnet"
)

// spareNetwork keeps one network namespace ready for the next VM that needs one of its own:
// the kernel takes half a millisecond to make it, and more. It has no name, and is gone
// with this process. The methods may be called from several goroutines.
type spareNetwork struct {
	mu     sync.Mutex
	ns     *os.File // nil while there is none
	closed bool
	making sync.WaitGroup
}

// take returns the spare one, or makes one.
func (s *spareNetwork) take() (*os.File, error) {
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
