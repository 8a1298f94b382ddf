package firecracker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/smartvm/smartvm/errcode"
)

const (
	// maxSocketPath is what fits into sockaddr_un, less the final NUL.
	maxSocketPath = 107
	// busyRetries is how often a call is repeated when Firecracker has all the
	// connections that it accepts; the waits double, about 0.3 s in all.
	busyRetries = 5
	busyWait    = 10 * time.Millisecond
)

// exchange sends the requests in one write and returns their answers in order.
// The answers that came before an error are returned with it.
func (c *Client) exchange(ctx context.Context, requests []Request) ([]*Response, error) {
	var text []byte
	methods := make([]string, len(requests))
	slow := false
	for i, r := range requests {
		var err error
		if text, err = r.appendTo(text, c.options.BodyLimit); err != nil {
			return nil, err
		}
		f, _ := r.facts()
		methods[i], slow = r.Method, slow || f.slow
	}
	deadline := c.deadline(slow)
	release, err := c.turn(ctx, deadline)
	if err != nil {
		return nil, c.transportError(ctx, requests[0].String(), err)
	}
	defer release()
	wait := busyWait
	for try := 0; ; try++ {
		answers, err := c.attempt(ctx, deadline, text, methods)
		if len(answers) > 0 && answers[0].StatusCode == http.StatusServiceUnavailable {
			// Firecracker hung up without reading: nothing has happened, so repeating is safe.
			if try == busyRetries || !pause(ctx, deadline, wait) {
				if ctx.Err() != nil {
					return nil, c.transportError(ctx, requests[0].String(), ctx.Err())
				}
				return answers[:1], nil
			}
			wait *= 2
			continue
		}
		if err != nil {
			err = c.transportError(ctx, requests[min(len(answers), len(requests)-1)].String(), err)
		}
		return answers, err
	}
}

// attempt makes one call on the connection that is there, or on a new one.
func (c *Client) attempt(ctx context.Context, deadline time.Time, text []byte, methods []string) ([]*Response, error) {
	for {
		l, used, err := c.connect(ctx, deadline)
		if err != nil {
			return nil, err
		}
		if err := c.begin(l, deadline); err != nil {
			return nil, err
		}
		answers, sent, err := l.call(ctx, text, methods)
		c.end(l)
		// The other side had closed an idle connection: it has seen nothing of the request.
		if err != nil && used && !sent && ctx.Err() == nil && !timedOut(err) {
			continue
		}
		return answers, err
	}
}

// turn waits until no other call is under way.
func (c *Client) turn(ctx context.Context, deadline time.Time) (release func(), err error) {
	release = func() { <-c.token }
	select {
	case c.token <- struct{}{}:
		return release, nil
	default:
	}
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case c.token <- struct{}{}:
		return release, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-expired:
		return nil, fmt.Errorf("another call is under way: %w", os.ErrDeadlineExceeded)
	}
}

// connect returns the connection, and whether it has been used before.
func (c *Client) connect(ctx context.Context, deadline time.Time) (l *link, used bool, err error) {
	c.mu.Lock()
	l, closed := c.link, c.closed
	c.mu.Unlock()
	if closed {
		return nil, false, net.ErrClosed
	}
	if l != nil {
		return l, true, nil
	}
	if len(c.socket) > maxSocketPath {
		return nil, false, &errcode.Error{
			Code: errcode.PathTooLong, Op: "connect to", Subject: c.socket,
			Err:  fmt.Errorf("the path has %d bytes, a socket's may have %d", len(c.socket), maxSocketPath),
			Hint: "choose a shorter directory than " + filepath.Dir(c.socket),
		}
	}
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, deadline, os.ErrDeadlineExceeded)
		defer cancel()
	}
	conn, err := c.options.Dial(ctx, c.socket)
	if err != nil {
		return nil, false, err
	}
	l = newLink(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.close()
		return nil, false, net.ErrClosed
	}
	c.link = l
	return l, false, nil
}

// begin lets a call use the connection until the deadline, or until Close.
func (c *Client) begin(l *link, deadline time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	l.busy = true
	return l.conn.SetDeadline(deadline)
}

// end keeps the connection for the next call, or gives it up. One that is given
// up closes in its own time, in a goroutine that ends with Firecracker's answer
// or with Firecracker.
func (c *Client) end(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.busy = false
	if !l.broken && !c.closed {
		return
	}
	c.link = nil
	go l.drain()
}

// pause waits for d, and reports false when the call is over before.
func pause(ctx context.Context, deadline time.Time, d time.Duration) bool {
	if !deadline.IsZero() && time.Until(deadline) < d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
