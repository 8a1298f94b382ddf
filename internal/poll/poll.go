// Package poll calls functions when descriptors can be read.
//
// A goroutine for each costs a stack that grows, and a change of goroutines for
// each event. All watches share one goroutine, which exists as long as there is a
// watch, and takes the events of many descriptors at once.
package poll

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Watch is a descriptor that is being watched.
type Watch struct {
	fd    int
	key   int32
	loop  *loop
	ready func() (more bool)
	over  func()

	mu      sync.Mutex // held while ready runs
	stopped bool
}

// Add has ready called each time fd can be read, or has come to its end, until it
// returns false; then over is called once, when fd is no longer watched and can be
// closed. Both are called in the goroutine that all watches share, so they must not
// wait for anything. Ready must read what there is, or it is called again at once.
func Add(fd int, ready func() (more bool), over func()) (*Watch, error) {
	w := &Watch{fd: fd, ready: ready, over: over}
	shared.Lock()
	defer shared.Unlock()
	if shared.loop == nil {
		l, err := newLoop()
		if err != nil {
			return nil, err
		}
		shared.loop = l
		go l.run()
	}
	if err := shared.loop.add(w); err != nil {
		shared.loop.closeIfIdle()
		return nil, err
	}
	return w, nil
}

// Stop ends the watch and reports whether it did: false means that over is called,
// or was. With true neither function is running, nor called any more, and fd can be
// closed. It must not be called by ready.
func (w *Watch) Stop() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stop()
}

// stop is Stop for who holds mu.
func (w *Watch) stop() bool {
	if w.stopped {
		return false
	}
	w.stopped = true
	shared.Lock()
	defer shared.Unlock()
	w.loop.remove(w)
	w.loop.closeIfIdle()
	return true
}

func (w *Watch) call() {
	w.mu.Lock()
	over := !w.stopped && !w.ready() && w.stop()
	w.mu.Unlock()
	if over {
		w.over()
	}
}

// shared is the loop of all watches, nil as long as there is none. Its lock also
// guards what is in the loop; whoever holds that of a watch may take it, and never
// the other way round.
var shared struct {
	sync.Mutex
	loop *loop
}

// loop is an epoll instance with a goroutine that waits for it as it would for a
// socket, without a thread.
type loop struct {
	file    *os.File
	fd      int // of file, whose method Fd would make it blocking
	watches map[int32]*Watch
	last    int32 // key; a descriptor's number is used again while there are events of its last owner
}

func newLoop() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or os.NewFile does not wait for it
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	return &loop{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, watches: map[int32]*Watch{}}, nil
}

func (l *loop) add(w *Watch) error {
	l.last++
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: l.last}
	if err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, w.fd, &event); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	w.key, w.loop = l.last, l
	l.watches[w.key] = w
	return nil
}

func (l *loop) remove(w *Watch) {
	delete(l.watches, w.key)
	_ = unix.EpollCtl(l.fd, unix.EPOLL_CTL_DEL, w.fd, nil) // it is there
}

// closeIfIdle ends the loop, unless there is something to be watched.
func (l *loop) closeIfIdle() {
	if len(l.watches) == 0 {
		shared.loop = nil
		_ = l.file.Close()
	}
}

// batch is how many events are taken at once.
const batch = 64

// run calls who is ready until the loop is closed.
func (l *loop) run() {
	conn, err := l.file.SyscallConn()
	if err != nil {
		return // closed already
	}
	var events [batch]unix.EpollEvent
	for {
		n := 0
		err := conn.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0) // it fails only when interrupted
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			shared.Lock()
			w := l.watches[e.Fd]
			shared.Unlock()
			if w != nil {
				w.call()
			}
		}
	}
}
