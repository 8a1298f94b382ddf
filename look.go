package smartvm

import (
	"context"
	"errors"
	"time"
)

// How long to wait between looks at a Firecracker that starts: an eighth of the
// time that it has taken so far, within these bounds. A look costs a system call
// or two; being told (by inotify of the socket, or by an answer of the API that
// the guest runs) costs more, and most of all Firecracker, which has to change
// threads to answer. A host that starts many VMs at once makes each slower, and
// looks less often.
const (
	soonestLook = time.Millisecond
	latestLook  = 8 * time.Millisecond
)

// until looks again and again until something is so, the process is gone, ctx
// ends, or StartTimeout has passed.
func (l *launch) until(ctx context.Context, gone <-chan struct{}, look func() (bool, error)) error {
	began, timeout := time.Now(), l.vm.manager.opts.StartTimeout
	pause := time.NewTimer(soonestLook)
	defer pause.Stop()
	for {
		if is, err := look(); is || err != nil {
			return err
		}
		select {
		case <-pause.C:
		case <-gone:
			return errGoneEarly
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		elapsed := time.Since(began)
		if elapsed > timeout {
			return errTooLong
		}
		pause.Reset(min(max(elapsed/8, soonestLook), latestLook))
	}
}

var (
	errTooLong   = errors.New("firecracker takes too long")
	errGoneEarly = errors.New("firecracker ended before its guest ran")
)
