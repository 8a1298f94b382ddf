package hostnet

import (
	"errors"
	"sync"

	"github.com/smartvm/smartvm/internal/ledger"
	"github.com/smartvm/smartvm/internal/netlinux"
)

// way leads to the kernel: a [netlinux.Host] that a [Network] keeps open, and that
// what it has made is given back through. To open one for each would cost a wait of
// 15 ms: the kernel lets a socket that has removed rules go when they are gone.
type way struct {
	mu     sync.Mutex
	host   *netlinux.Host
	users  sync.WaitGroup
	closed bool
}

// borrow returns the Host, and what is called when it is no longer needed. A way
// that has been closed, or nil, leads to a Host for this call alone.
func (w *way) borrow() (host *netlinux.Host, giveBack func() error, err error) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
	}
	if w == nil || w.closed {
		host, err := netlinux.Open()
		if err != nil {
			return nil, nil, err
		}
		return host, host.Close, nil
	}
	if w.host == nil {
		if w.host, err = netlinux.Open(); err != nil {
			w.host = nil
			return nil, nil, err
		}
	}
	w.users.Add(1)
	return w.host, func() error {
		w.users.Done()
		return nil
	}, nil
}

// close waits for those who have borrowed the Host.
func (w *way) close() error {
	w.mu.Lock()
	host := w.host
	w.host, w.closed = nil, true
	w.mu.Unlock()
	w.users.Wait()
	if host == nil {
		return nil
	}
	return host.Close()
}

// through is the part of a resource that leads to the kernel. One that is read from a
// ledger has a way of its own until it is given another.
type through struct{ way *way }

func (t *through) use(w *way) { t.way = w }

func (t *through) onHost(do func(h *netlinux.Host) error) error {
	host, giveBack, err := t.way.borrow()
	if err != nil {
		return err
	}
	return errors.Join(do(host), giveBack())
}

// share gives all resources of a ledger the same way to the kernel.
func share(led *ledger.Ledger, host *netlinux.Host) {
	w := &way{host: host}
	for _, r := range led.View().Resources {
		if t, ok := r.(interface{ use(w *way) }); ok {
			t.use(w)
		}
	}
}
