package stage

import (
	"fmt"
	"os"
	"sync"

	"github.com/smartvm/smartvm/errcode"
)

const (
	// margin is what a copy must leave free, so that a file system is never
	// filled to the brim: its own metadata and the VM's logs live there too.
	margin = 16 << 20
	// memoryMargin is the same for memory, where running out kills processes.
	memoryMargin = 128 << 20
)

// Space keeps account of the room promised to copies that are not finished, so
// that several drives of one VM and several starts at once can't all count on
// the same free bytes. One Space serves all copies of a process. The zero value
// is ready to use; its methods may be called from several goroutines.
//
// It can't cover what it does not see: other processes, what guests write later
// into the holes of their drives or take as memory, a limit on the memory of
// this process's control group, and btrfs subvolumes, each of which looks like
// a file system of its own. A copy that runs out of room in spite of the check
// is removed and reported as NO_SPACE like the others.
type Space struct {
	mu       sync.Mutex
	promised map[uint64]int64 // by device number
	memory   int64            // the part of it that is promised in tmpfs
}

// room is what a file system can give.
type room struct {
	device uint64
	free   int64 // bytes; less than 0 when the file system sets no limit
	memory int64 // bytes of memory behind a tmpfs; less than 0 elsewhere
}

// shortage tells why a directory was not chosen.
type shortage struct {
	dir    string
	need   int64 // margin included
	free   int64 // not promised to others
	memory bool  // what lacks is memory, not the limit of the file system
}

// promise is room set aside for one copy.
type promise struct {
	space  *Space
	device uint64
	memory bool
	left   int64
}

// Room is room that is set aside for somebody else to write into.
type Room struct{ promise *promise }

// Reserve sets n bytes in dir aside until they are released, or fails with NO_SPACE. What
// is written meanwhile counts twice, so release it as soon as it is written.
func (s *Space) Reserve(dir *os.Root, n int64) (*Room, error) {
	promise, short, err := s.reserve(dir, n)
	if err != nil {
		return nil, fmt.Errorf("ask for free space in %s: %w", dir.Name(), err)
	}
	if short != nil {
		return nil, lack(&errcode.Error{Op: "look for room", Subject: dir.Name(), Hint: "free some room there"}, []shortage{*short})
	}
	return &Room{promise}, nil
}

// Release gives the room back. It may be called again, also on nil.
func (r *Room) Release() {
	if r != nil {
		r.promise.release()
	}
}

// reserve promises n bytes in dir, or says how much is missing.
func (s *Space) reserve(dir *os.Root, n int64) (*promise, *shortage, error) {
	// Under the lock: a copy that writes between the question and the sum
	// would count neither as written nor as promised.
	s.mu.Lock()
	defer s.mu.Unlock()
	has, err := roomOf(dir)
	if err != nil {
		return nil, nil, err
	}
	if has.free >= 0 {
		if free := has.free - s.promised[has.device]; free < n+margin {
			return nil, &shortage{dir: dir.Name(), need: n + margin, free: max(free, 0)}, nil
		}
	}
	inMemory := has.memory >= 0
	if inMemory {
		if free := has.memory - s.memory; free < n+memoryMargin {
			return nil, &shortage{dir: dir.Name(), need: n + memoryMargin, free: max(free, 0), memory: true}, nil
		}
	}
	p := &promise{space: s, device: has.device, memory: inMemory, left: n}
	if s.promised == nil {
		s.promised = make(map[uint64]int64)
	}
	p.addLocked(n)
	return p, nil, nil
}

// spend takes n written bytes out of the promise: the kernel counts them now.
// For the length of one chunk both count them, which errs on the safe side.
func (p *promise) spend(n int64) {
	p.space.mu.Lock()
	defer p.space.mu.Unlock()
	n = min(n, p.left)
	p.left -= n
	p.addLocked(-n)
}

// release gives back what is left. It may be called again.
func (p *promise) release() {
	p.space.mu.Lock()
	defer p.space.mu.Unlock()
	p.addLocked(-p.left)
	p.left = 0
}

func (p *promise) addLocked(n int64) {
	p.space.promised[p.device] += n
	if p.space.promised[p.device] == 0 {
		delete(p.space.promised, p.device)
	}
	if p.memory {
		p.space.memory += n
	}
}
