package smartvm

import "context"

// joining is the network of a guest, while it is being made.
type joining struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // to be read when done is closed
}

// join attaches the guest to its networks. One that goes on needs them no sooner than its
// snapshot is loaded: they are made while its Firecracker starts.
func (l *launch) join(ctx context.Context) error {
	if l.network != nil || len(l.plan.config.NetworkInterfaces) == 0 {
		return nil
	}
	if l.restore == nil {
		return l.attachNetwork(ctx)
	}
	if err := l.ownNetwork(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	j := &joining{cancel: cancel, done: make(chan struct{})}
	l.network = j
	go func() {
		defer close(j.done)
		j.err = l.attachNetwork(ctx)
	}()
	return nil
}

// wait waits until the guest is attached. There is nothing to wait for in nil.
func (j *joining) wait() error {
	if j == nil {
		return nil
	}
	<-j.done
	return j.err
}

// abandon ends it, if it is still under way. What was made is in the ledger.
func (j *joining) abandon() {
	if j != nil {
		j.cancel()
		<-j.done
	}
}
