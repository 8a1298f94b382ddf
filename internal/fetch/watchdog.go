package fetch

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// watchdog ends a request whose server has gone silent. It watches each wait for
// the server by itself, so a slow server is no silent one, and a slow disk of
// ours is not held against it.
type watchdog struct {
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelFunc
	barked atomic.Bool
}

// watch starts to watch the request that is made with the context it returns. The
// first thing to wait for is the header.
func watch(ctx context.Context, limit time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watchdog{limit: limit, cancel: cancel}
	w.timer = time.AfterFunc(limit, func() {
		w.barked.Store(true)
		cancel()
	})
	return ctx, w
}

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel()
}

// heard says that the server has sent something.
func (w *watchdog) heard() { w.timer.Stop() }

// explain replaces the error of a wait that the watchdog has ended.
func (w *watchdog) explain(err error) error {
	if err != nil && !errors.Is(err, io.EOF) && w.barked.Load() {
		return errStalled
	}
	return err
}

// reader watches what is read from r.
func (w *watchdog) reader(r io.Reader) io.Reader { return watched{w, r} }

type watched struct {
	dog *watchdog
	r   io.Reader
}

// Read reads once, for no longer than the watchdog's limit.
func (w watched) Read(p []byte) (int, error) {
	w.dog.timer.Reset(w.dog.limit)
	n, err := w.r.Read(p)
	w.dog.heard()
	return n, w.dog.explain(err)
}
