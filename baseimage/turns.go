package baseimage

import (
	"context"
	"sync"
)

// turns lets one goroutine at a time do a piece of work that several want, so
// that the others find it done. The zero value is ready to use.
type turns struct {
	mu   sync.Mutex
	busy map[any]chan struct{} // closed when the turn is over
}

// take waits for the turn of key until ctx ends.
func (t *turns) take(ctx context.Context, key any) (over func(), err error) {
	for {
		over, busy := t.try(key)
		if busy == nil {
			return over, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (t *turns) try(key any) (over func(), busy <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if busy, taken := t.busy[key]; taken {
		return nil, busy
	}
	if t.busy == nil {
		t.busy = make(map[any]chan struct{})
	}
	done := make(chan struct{})
	t.busy[key] = done
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.busy, key)
		close(done)
	}, nil
}
