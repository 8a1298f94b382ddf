package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/poll"
)

// Console is the serial port of the VM whose directory is given. It holds
// nothing open.
type Console struct {
	dir   string
	limit int64
	fresh bool // made by Create, so that there is no log yet
}

// New returns the console of the VM that lives in dir. Limit bounds its log, in
// bytes; 0 means [DefaultLimit].
func New(dir string, limit int64) *Console {
	if limit == 0 {
		limit = DefaultLimit
	}
	return &Console{dir: dir, limit: limit}
}

func (c *Console) inPath() string  { return filepath.Join(c.dir, "console.in") }
func (c *Console) outPath() string { return filepath.Join(c.dir, "console.out") }

// Ends are the files that a Firecracker process gets as its standard input and
// output, open for both reading and writing.
type Ends struct{ In, Out *os.File }

// Close closes this process's copies.
func (e Ends) Close() error { return errors.Join(e.In.Close(), e.Out.Close()) }

// Create makes the FIFOs.
func (c *Console) Create() (Ends, error) {
	in, err := createFIFO(c.inPath())
	if err != nil {
		return Ends{}, err
	}
	out, err := createFIFO(c.outPath())
	if err != nil {
		return Ends{}, errors.Join(err, in.Close())
	}
	c.fresh = true
	return Ends{in, out}, nil
}

// createFIFO makes a FIFO and opens it in both directions, without O_NONBLOCK:
// the flag would be shared with Firecracker, which sets it by itself.
func createFIFO(path string) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Hold opens the output for reading and reads nothing: what the guest has said
// is not lost, even if Firecracker ends, until somebody keeps the console.
func (c *Console) Hold() (*os.File, error) {
	fd, err := c.openOutput()
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), c.outPath()), nil
}

func (c *Console) openOutput() (int, error) {
	fd, err := unix.Open(c.outPath(), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: c.outPath(), Err: err}
	}
	return fd, nil
}

// ErrKept says that another process is the keeper.
var ErrKept = errors.New("the console is kept by another process")

// Keeper moves the guest's output into the log.
type Keeper struct {
	fifo  int
	log   *writer
	watch *poll.Watch // nil when it was over before it began
	done  chan struct{}

	mu   sync.Mutex
	more chan struct{} // closed when more is in the log; nil when nobody waits for that
	err  error         // valid once done is closed
}

// Keep makes this process the keeper, or returns [ErrKept]. It must be called
// while Firecracker, or the [Ends], hold the FIFO open. The keeper ends by
// itself when Firecracker has ended and all its output is in the log.
func (c *Console) Keep() (*Keeper, error) {
	fifo, err := c.openOutput()
	if err != nil {
		return nil, err
	}
	if err := lock(fifo); err != nil {
		return nil, errors.Join(err, unix.Close(fifo))
	}
	log, err := openWriter(c.dir, c.limit, c.fresh)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fifo))
	}
	c.fresh = false
	k := &Keeper{fifo: fifo, log: log, done: make(chan struct{})}
	// A FIFO that had no writer when it was opened can be read to its end, and never
	// polled to it.
	for {
		switch k.move() {
		case moved:
		case over:
			k.finish()
			return k, nil
		case waiting:
			k.watch, err = poll.Add(fifo, func() bool { return k.move() != over }, k.finish)
			if err != nil {
				return nil, errors.Join(err, k.close())
			}
			return k, nil
		}
	}
}

// lock makes the holder of an open FIFO the keeper.
func lock(fifo int) error {
	err := unix.Flock(fifo, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrKept
	}
	return os.NewSyscallError("flock", err)
}

// buffers are shared by all consoles: one that is silent needs none.
var buffers = sync.Pool{New: func() any { return new([8 << 10]byte) }}

// progress is what a move has come to.
type progress int

const (
	moved   progress = iota // there may be more
	waiting                 // there will be more
	over                    // the last writer has closed the FIFO
)

// move copies some of what there is into the log. What can't be written (a full
// disk) is dropped: the guest must not be held up by its log.
func (k *Keeper) move() progress {
	buf, _ := buffers.Get().(*[8 << 10]byte)
	defer buffers.Put(buf)
	n, err := unix.Read(k.fifo, buf[:])
	switch {
	case errors.Is(err, unix.EINTR):
		return moved
	case errors.Is(err, unix.EAGAIN):
		return waiting
	case err != nil:
		k.lost(os.NewSyscallError("read", err))
		return over
	case n == 0:
		return over
	}
	if _, err := k.log.Write(buf[:n]); err != nil {
		k.lost(err)
	}
	k.wake()
	return moved
}

// lost keeps the first reason why output is missing.
func (k *Keeper) lost(err error) {
	if k.err == nil {
		k.err = fmt.Errorf("console output was lost: %w", err)
	}
}

// finish ends the log of a Firecracker that has ended.
func (k *Keeper) finish() {
	k.err = errors.Join(k.err, k.log.finish(), k.close())
	close(k.done)
}

func (k *Keeper) close() error {
	return errors.Join(k.log.close(), os.NewSyscallError("close", unix.Close(k.fifo)))
}

// Changed returns a channel that is closed when more is in the log than now, or never.
func (k *Keeper) Changed() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.more == nil {
		k.more = make(chan struct{})
	}
	return k.more
}

func (k *Keeper) wake() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.more != nil {
		close(k.more)
		k.more = nil
	}
}

// Done is closed when the keeper has ended: everything is in the log.
func (k *Keeper) Done() <-chan struct{} { return k.done }

// Err waits for Done and reports output that was lost.
func (k *Keeper) Err() error {
	<-k.done
	return k.err
}

// Leave stops keeping and lets the FIFO collect what comes, up to its size.
func (k *Keeper) Leave() error {
	if k.watch != nil && k.watch.Stop() {
		k.err = errors.Join(k.err, k.close())
		close(k.done)
	}
	return k.Err()
}

// Write sends input to the guest. It waits while the guest does not take it,
// until ctx ends. The error matches unix.ENXIO when no Firecracker listens.
func (c *Console) Write(ctx context.Context, p []byte) error {
	fd, err := unix.Open(c.inPath(), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: c.inPath(), Err: err}
	}
	f := os.NewFile(uintptr(fd), c.inPath())
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := f.Write(p); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}
