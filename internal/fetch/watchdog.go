package fetch

import (
	"context"
	"io"
	"time"
)

// watchdog ends a request whose server has gone silent. It watches each wait for
// the server by itself, so a slow server is no silent one, and a slow disk of
// ours is not held against it.
type watchdog struct {
	ctx    context.Context //nolint:containedctx // it is the request's, and lives as long
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

// watch starts to watch: the first thing to wait for is the header.
func watch(ctx context.Context, limit time.Duration) *watchdog {
	ctx, cancel := context.WithCancelCause(ctx)
	return &watchdog{ctx, cancel, time.AfterFunc(limit, func() { cancel(errStalled) }), limit}
}

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// heard says that the server has sent something.
func (w *watchdog) heard() { w.timer.Stop() }

// explain replaces the error of a read that the watchdog has ended.
func (w *watchdog) explain(err error) error {
	if err != nil && context.Cause(w.ctx) == errStalled { //nolint:errorlint // it is put there as it is
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
	if err == io.EOF { //nolint:errorlint // readers return it as it is
		return n, err
	}
	return n, w.dog.explain(err)
}
