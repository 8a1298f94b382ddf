package smartvm

import "context"

// joining is the network of a guest, while it is being made.
type joining struct {
	cancel context.CancelFunc
	done   chan error
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
	l.network = &joining{cancel, make(chan error, 1)}
	go func() { l.network.done <- l.attachNetwork(ctx) }()
	return nil
}

// wait waits until the guest is attached. There is nothing to wait for in nil.
func (j *joining) wait() error {
	if j == nil {
		return nil
	}
	defer j.cancel()
	err := <-j.done
	j.done <- nil // for whoever asks again
	return err
}

// abandon ends it, if it is still under way. What was made is in the ledger.
func (j *joining) abandon() {
	if j != nil {
		j.cancel()
		_ = j.wait()
	}
}
