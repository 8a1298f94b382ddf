package console

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/plainfile"

	"github.com/smartvm/smartvm/internal/watch"
)

// Reader reads the log from its oldest byte on. It is for one goroutine, but for
// Close.
type Reader struct {
	dir  string
	wait *waiter // nil for one that does not follow

	mu     sync.Mutex // held by a Read, also while it waits
	pos    int64      // of the next byte, in all that the guest ever wrote
	file   *os.File
	open   int64 // start of the segment in file
	closed bool
}

// waiter lets a reader that is at the end wait for more: until the keeper says
// so, if it is one of this process, else until the directory changes.
type waiter struct {
	ctx     context.Context //nolint:containedctx // io.Reader has no context; this one bounds the reader's life, not a call
	cancel  context.CancelCauseFunc
	keeper  *Keeper // nil when it is another process's, or has ended
	watcher *watch.Watcher
	waker   *watch.Waker
	more    <-chan struct{} // nil as long as nobody was asked to tell
}

// wait returns when there may be more. It returns at once when it has just
// asked to be told, since what came before that is told by nobody.
func (w *waiter) wait(dir string) error {
	if w.more == nil {
		return w.ask(dir)
	}
	var left <-chan struct{}
	if w.keeper != nil {
		left = w.keeper.done
	}
	select {
	case <-w.more:
		if w.keeper != nil {
			w.more = w.keeper.Changed()
		}
		return nil
	case <-left: // another process may go on with the console
		w.keeper, w.more = nil, nil
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

// knows reports whether the keeper is at work in this process. What it knows is
// cheaper to ask for than to be looked up in the directory.
func (w *waiter) knows() bool {
	if w == nil || w.keeper == nil {
		return false
	}
	select {
	case <-w.keeper.done:
		return false
	default:
		return true
	}
}

func (w *waiter) ask(dir string) error {
	if w.keeper != nil {
		w.more = w.keeper.Changed()
		return nil
	}
	waker, err := w.watcher.Dir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone with its VM, which the next look tells
	}
	if err == nil {
		w.waker, w.more = waker, waker.C
	}
	return err
}

// Read returns the log as it is now.
func (c *Console) Read() *Reader { return &Reader{dir: c.dir} }

// Follow returns the log and what is added to it, until Firecracker has ended
// or ctx does, whichever comes first: both are io.EOF, the latter with an error
// from ctx. The keeper is that of this process; nil when there is none.
func (c *Console) Follow(ctx context.Context, k *Keeper, w *watch.Watcher) (*Reader, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &Reader{dir: c.dir, wait: &waiter{ctx: ctx, cancel: cancel, keeper: k, watcher: w}}
	if !r.wait.knows() {
		if _, err := os.Lstat(c.dir); err != nil {
			cancel(nil)
			return nil, err
		}
	}
	return r, nil
}

// SkipToEnd makes the reader start with what comes from now on.
func (r *Reader) SkipToEnd() error {
	list, err := segments(r.dir)
	if err != nil || len(list) == 0 {
		return err
	}
	last := list[len(list)-1]
	info, err := os.Stat(last.path)
	if err != nil {
		return err
	}
	r.pos = last.start + info.Size()
	return nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.closed {
		end := !r.wait.knows() && finished(r.dir) // before the last look at the data, not after it
		n, err := r.next(p)
		if n > 0 || err != nil {
			return n, err
		}
		if end || r.wait == nil {
			return 0, io.EOF
		}
		if err := r.wait.wait(r.dir); err != nil {
			return 0, err
		}
	}
	return 0, os.ErrClosed
}

// next reads what there is at the position; 0 bytes means nothing yet.
func (r *Reader) next(p []byte) (int, error) {
	for {
		if r.file != nil {
			n, err := r.file.ReadAt(p, r.pos-r.open)
			r.pos += int64(n)
			if err = ignoreEOF(err); n > 0 || err != nil {
				return n, err
			}
			if r.wait.knows() && r.wait.keeper.log.at.Load() == r.open {
				return 0, nil // it is the newest segment
			}
		}
		moved, err := r.advance()
		if err != nil || !moved {
			return 0, err
		}
	}
}

// ignoreEOF drops the end of a segment, which is not the end of the log.
func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// advance opens the segment that holds the position, if that is another one
// than now. Output that was removed before it was read is skipped.
func (r *Reader) advance() (bool, error) {
	if r.file == nil || r.pos > r.open { // mostly, a segment begins just here
		if moved, err := r.switchTo(segment{segmentPath(r.dir, r.pos), r.pos}); moved || err != nil {
			return moved, err
		}
	}
	list, err := segments(r.dir)
	if errors.Is(err, fs.ErrNotExist) || len(list) == 0 {
		return false, nil // the VM's directory is gone, or nothing was written yet
	}
	if err != nil {
		return false, err
	}
	r.pos = max(r.pos, list[0].start)
	at := list[0]
	for _, s := range list {
		if s.start <= r.pos {
			at = s
		}
	}
	if r.file != nil && r.open == at.start {
		return false, nil
	}
	if moved, err := r.switchTo(at); moved || err != nil {
		return moved, err
	}
	return true, nil // rotated away meanwhile: look again
}

// switchTo opens a segment in place of the one before; false means that there
// is no such segment.
func (r *Reader) switchTo(s segment) (bool, error) {
	f, err := plainfile.Open(s.path, unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if r.file != nil {
		err = r.file.Close()
	}
	r.file, r.open = f, s.start
	return true, err
}

// Close releases what the reader holds, and ends a Read that another goroutine
// waits in.
func (r *Reader) Close() error {
	if r.wait != nil {
		r.wait.cancel(os.ErrClosed)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	if r.wait != nil && r.wait.waker != nil {
		r.wait.waker.Close()
	}
	if r.file != nil {
		return r.file.Close()
	}
	return nil
}
