// Package watch wakes those who wait for a change in a directory.
//
// All waiters of a [Watcher] share one inotify instance: the kernel allows a
// user only 128 of them (fs.inotify.max_user_instances), fewer than the
// consoles that are followed at the same time.
package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Watcher watches directories. The zero value is ready; its inotify instance is
// opened with the first directory. Methods may be called from several goroutines.
type Watcher struct {
	mu      sync.Mutex
	inotify *os.File
	fd      int            // of inotify; File.Fd would make it blocking
	dirs    map[int32]*dir // by watch descriptor
	stopped chan struct{}
}

// dir is a watched directory with all who wait for it.
type dir struct {
	wakers map[*Waker]bool
}

// Waker is told that something in its directory has changed.
type Waker struct {
	// C receives a value after a change; several changes may come as one.
	C <-chan struct{}

	c  chan struct{}
	w  *Watcher
	wd int32
}

// Changes are files that appear, grow or go.
const changes = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MODIFY | unix.IN_DELETE | unix.IN_ONLYDIR

// Dir starts to watch a directory for new, changed and removed entries. What
// was there before is not reported: look after calling Dir, not before.
func (w *Watcher) Dir(path string) (*Waker, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.open(); err != nil {
		return nil, err
	}
	wd, err := unix.InotifyAddWatch(w.fd, path, changes)
	if err != nil {
		return nil, &os.PathError{Op: "inotify_add_watch", Path: path, Err: err}
	}
	c := make(chan struct{}, 1)
	k := &Waker{C: c, c: c, w: w, wd: int32(wd)}
	d := w.dirs[k.wd] // inotify knows a directory only once
	if d == nil {
		d = &dir{wakers: map[*Waker]bool{}}
		w.dirs[k.wd] = d
	}
	d.wakers[k] = true
	return k, nil
}

// Close stops watching for this waker.
func (k *Waker) Close() {
	w := k.w
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.dirs[k.wd]
	if d == nil || !d.wakers[k] {
		return
	}
	delete(d.wakers, k)
	if len(d.wakers) == 0 {
		delete(w.dirs, k.wd)
		if w.inotify != nil {
			// It fails when the directory is gone, and the watch with it.
			_, _ = unix.InotifyRmWatch(w.fd, uint32(k.wd))
		}
	}
}

// open makes the inotify instance. The caller holds mu.
func (w *Watcher) open() error {
	if w.inotify != nil {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("inotify_init1: %w", err)
	}
	w.inotify, w.fd = os.NewFile(uintptr(fd), "inotify"), fd
	w.dirs = map[int32]*dir{}
	w.stopped = make(chan struct{})
	go w.read(w.inotify, w.stopped)
	return nil
}

// read wakes the waiters until the instance is closed.
func (w *Watcher) read(inotify *os.File, stopped chan<- struct{}) {
	defer close(stopped)
	buf := make([]byte, 64<<10)
	for {
		n, err := inotify.Read(buf)
		if err != nil {
			return
		}
		w.wake(buf[:n])
	}
}

func (w *Watcher) wake(events []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		name := binary.NativeEndian.Uint32(events[12:])
		events = events[unix.SizeofInotifyEvent+int(name):]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0: // events were lost: anything may have changed
			for _, d := range w.dirs {
				d.wake()
			}
		case w.dirs[wd] != nil:
			w.dirs[wd].wake()
		}
	}
}

func (d *dir) wake() {
	for k := range d.wakers {
		select {
		case k.c <- struct{}{}:
		default: // already awake
		}
	}
}

// Close stops all watching. Wakers stay silent from then on.
func (w *Watcher) Close() error {
	w.mu.Lock()
	inotify, stopped := w.inotify, w.stopped
	w.inotify = nil
	clear(w.dirs)
	w.mu.Unlock()
	if inotify == nil {
		return nil
	}
	err := inotify.Close()
	<-stopped
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
