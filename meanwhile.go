package smartvm

import "context"

// meanwhile is a part of a start that goes on beside the others. Its methods may be called
// for nil, which is a part that there is not.
type meanwhile struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // to be read when done is closed
}

// goMeanwhile begins a part. It has to be abandoned, whatever becomes of it.
func goMeanwhile(ctx context.Context, do func(context.Context) error) *meanwhile {
	ctx, cancel := context.WithCancel(ctx)
	m := &meanwhile{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		m.err = do(ctx)
	}()
	return m
}

// over reports whether there is nothing to wait for.
func (m *meanwhile) over() bool {
	if m == nil {
		return true
	}
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// wait waits until the part is done.
func (m *meanwhile) wait() error {
	if m == nil {
		return nil
	}
	<-m.done
	return m.err
}

// abandon ends the part, if it is still under way. What it has made is in the ledger.
func (m *meanwhile) abandon() {
	if m != nil {
		m.cancel()
		<-m.done
	}
}
