package smartvm

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// How long to wait between looks at a Firecracker that starts: an eighth of the
// time that it has taken so far, within these bounds. A look costs a system call
// or two; an inotify watch for each socket costs more.
const (
	soonestLook = time.Millisecond
	latestLook  = 8 * time.Millisecond
	// loadLook is for the socket that a snapshot is loaded through, which is there within a
	// millisecond or two.
	loadLook = soonestLook / 4
	// A Firecracker that the jailer starts takes twice as long: it is copied first, some MB.
	// Each look wakes threads, which it has to share the processors with.
	firstJailLook   = 3 * soonestLook
	soonestJailLook = 2 * soonestLook
)

// firstLook returns the pause before the first look.
func (l *launch) firstLook() time.Duration {
	pause := l.nextLook(0)
	if l.viaJailer() {
		pause = max(pause, firstJailLook)
	}
	return pause
}

// nextLook returns the pause before the next look. Starts that share a processor
// take longer, each in proportion to their number, and are looked at less often.
func (l *launch) nextLook(elapsed time.Duration) time.Duration {
	crowd := int64(l.vm.manager.starting.Load()) / int64(runtime.GOMAXPROCS(0))
	if crowd <= 1 && l.restore != nil {
		return max(min(elapsed/8, latestLook), loadLook)
	}
	soonest := soonestLook
	if l.viaJailer() {
		soonest = soonestJailLook
	}
	return max(min(elapsed/8, latestLook), time.Duration(max(crowd, 1))*soonest)
}

// until looks again and again until something is so, the process is gone, ctx
// ends, or StartTimeout has passed. When hint is closed, it looks at once; nil is
// none.
func (l *launch) until(ctx context.Context, gone, hint <-chan struct{}, look func() (bool, error)) error {
	began, timeout := time.Now(), l.vm.manager.opts.StartTimeout
	pause := time.NewTimer(l.firstLook())
	defer pause.Stop()
	for {
		// Not before the first pause: nothing is ever there so soon.
		select {
		case <-pause.C:
		case <-hint:
			hint = nil
		case <-gone:
			return errGoneEarly
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if is, err := look(); is || err != nil {
			return err
		}
		elapsed := time.Since(began)
		if elapsed > timeout {
			return errTooLong
		}
		pause.Reset(l.nextLook(elapsed))
	}
}

var (
	errTooLong   = errors.New("firecracker takes too long")
	errGoneEarly = errors.New("firecracker ended before its guest ran")
)
