package poll

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe returns the ends of a pipe whose read end does not block.
func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	return ends[0], ends[1]
}

func closed(t *testing.T, fds ...int) {
	t.Helper()
	for _, fd := range fds {
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
}

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("not in time: %s", what)
	}
}

// reader reads all of a pipe, and counts.
type reader struct {
	fd   int
	got  atomic.Int64
	over chan struct{}
}

func (r *reader) ready() bool {
	var buf [16]byte
	n, err := unix.Read(r.fd, buf[:])
	r.got.Add(int64(max(n, 0)))
	return n > 0 || errors.Is(err, unix.EAGAIN)
}

func (r *reader) end() { close(r.over) }

func TestEveryWatchSeesAllThatComesUntilTheEnd(t *testing.T) {
	t.Parallel()
	const pipes, bytes = 200, 1000 // more of both than are taken at once
	var wg sync.WaitGroup
	for range pipes {
		wg.Go(func() {
			fd, w := pipe(t)
			r := &reader{fd: fd, over: make(chan struct{})}
			watch, err := Add(fd, r.ready, r.end)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := unix.Write(w, make([]byte, bytes)); err != nil {
				t.Error(err)
			}
			closed(t, w)
			within(t, "the end", r.over)
			if got := r.got.Load(); got != bytes {
				t.Errorf("%d bytes came, want %d", got, bytes)
			}
			if watch.Stop() {
				t.Error("Stop has ended what was over")
			}
			closed(t, fd)
		})
	}
	wg.Wait()
}

func TestNothingIsCalledAfterStop(t *testing.T) {
	t.Parallel()
	for range 200 { // the two meet in some of them
		fd, w := pipe(t)
		var stopped atomic.Bool
		watch, err := Add(fd, func() bool {
			if stopped.Load() {
				t.Error("ready is called after Stop")
			}
			return true // and reads nothing: it is called again and again
		}, func() { t.Error("over is called") })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(w, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if !watch.Stop() {
			t.Error("there was nothing to stop")
		}
		stopped.Store(true)
		if watch.Stop() {
			t.Error("stopped twice")
		}
		closed(t, fd, w)
	}
}

func TestDescriptorThatCannotBeWatchedIsAnError(t *testing.T) {
	t.Parallel()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Add(int(f.Fd()), func() bool { return false }, func() {}); !errors.Is(err, unix.EPERM) {
		t.Errorf("a regular file: %v, want EPERM", err)
	}
}

// Not parallel: it is about the loop that all share.
func TestLoopEndsWithItsLastWatchAndComesBack(t *testing.T) { //nolint:paralleltest // see above
	for range 3 {
		fd, w := pipe(t)
		watch, err := Add(fd, func() bool { return true }, func() {})
		if err != nil {
			t.Fatal(err)
		}
		if !watch.Stop() {
			t.Error("there was nothing to stop")
		}
		shared.Lock()
		if shared.loop != nil {
			t.Error("the loop goes on without a watch")
		}
		shared.Unlock()
		closed(t, fd, w)
	}
}
