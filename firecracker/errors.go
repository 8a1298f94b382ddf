package firecracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/smartvm/smartvm/errcode"
)

const opCall = "call firecracker"

// transportError says why a call got no answer. An error that has a code keeps it.
func (c *Client) transportError(ctx context.Context, subject string, err error) error {
	if _, ok := errors.AsType[*errcode.Error](err); ok {
		return err
	}
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed && timedOut(err) {
		err = net.ErrClosed // Close has interrupted the call
	}
	e := &errcode.Error{Code: errcode.SocketRequestFailed, Op: opCall, Subject: subject, Err: err}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		e.Err = contextError(ctx)
	case ctx.Err() != nil:
		e.Code, e.Err = errcode.APITimeout, contextError(ctx)
	case timedOut(err):
		// The connection's deadline can be a moment ahead of the context's own timer.
		e.Code = errcode.APITimeout
	case errors.Is(err, net.ErrClosed):
		e.Hint = "the client has been closed"
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		e.Hint = "nothing listens there: Firecracker has ended or is not up yet"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Hint = "Firecracker has ended or hung up; the call may have taken effect"
	}
	return e
}

// contextError matches the context's error and, where it is another, its cause.
func contextError(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return context.Cause(ctx)
}

func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// apiError is the error for a refusal.
func (c *Client) apiError(ctx context.Context, r Request, answer *Response) *errcode.Error {
	return &errcode.Error{
		Code: errcode.APIError, Op: opCall, Subject: r.String(), StatusCode: answer.StatusCode,
		Err: errors.New(answer.Fault), Hint: c.hint(ctx, r, answer),
	}
}

// hint names the likely reason from what is known about the call. Whether the
// call came in the wrong phase is asked of Firecracker rather than read out of
// its words, which change between releases.
func (c *Client) hint(ctx context.Context, r Request, answer *Response) string {
	f, known := r.facts()
	switch {
	case answer.StatusCode == http.StatusServiceUnavailable:
		return "Firecracker accepts 10 connections at a time: close those of other clients"
	case answer.StatusCode == http.StatusRequestEntityTooLarge:
		return hintMMDS
	case !known:
		return "this call is not one of Firecracker's API as this version of smartvm knows it"
	case f.phase == AnyPhase || r.Path == pathSnapshotLoad: // a failed load ends the process
		return f.hint
	}
	if state, err := c.state(ctx); err == nil && !f.phase.Allows(state) {
		return fmt.Sprintf("the call is allowed %s, the VM is %s", f.phase, state)
	}
	return f.hint
}

func (c *Client) state(ctx context.Context) (InstanceState, error) {
	answer, err := c.Get(ctx, pathInfo)
	if err != nil {
		return "", err
	}
	var info InstanceInfo
	return info.State, decode(answer, &info)
}
