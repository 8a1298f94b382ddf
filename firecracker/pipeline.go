package firecracker

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/smartvm/smartvm/errcode"
)

// Pipeline makes several calls in one write, and waits for all answers: the
// time of one round trip instead of many. Firecracker goes through them in
// order, and on after one that it refuses. The error is that of the first
// refused call, with the others in its Details.
//
// Nothing is sent when a request does not pass its check; the error has all that
// is missing. The call that starts the instance can't be part of the batch
// (INVALID_CONFIG), since it must not happen when one of the others has failed.
func (c *Client) Pipeline(ctx context.Context, requests []Request) error {
	if len(requests) == 0 {
		return nil
	}
	if err := c.checkAll(ctx, requests); err != nil {
		return err
	}
	answers, transportErr := c.exchange(ctx, requests)
	var refusal *errcode.Error
	for i, answer := range answers {
		r := requests[i]
		if answer.Deprecated {
			c.options.Logger.LogAttrs(ctx, slog.LevelWarn, "deprecated firecracker call", slog.String("op", r.String()))
		}
		switch {
		case answer.OK:
		case refusal == nil:
			refusal = c.apiError(ctx, r, answer)
		default:
			refusal.Details = append(refusal.Details, errcode.Detail{Field: r.String(), Message: answer.Fault})
		}
	}
	if refusal == nil {
		return transportErr
	}
	return refusal
}

// checkAll refuses a batch with all that this Firecracker does not know.
func (c *Client) checkAll(ctx context.Context, requests []Request) error {
	var refusal *errcode.Error
	for _, r := range requests {
		if r.isStart() {
			return invalidRequest(r, errors.New("the start can't share a batch with the configuration that it needs"))
		}
		err := c.check(ctx, r)
		e, ok := errors.AsType[*errcode.Error](err)
		switch {
		case err == nil:
		case !ok || e.Code != errcode.UnsupportedVersion:
			return err
		case refusal == nil:
			refusal = e
		default:
			for _, d := range e.Details {
				refusal.Details = append(refusal.Details, errcode.Detail{Field: strings.TrimSpace(r.String() + " " + d.Field), Message: d.Message})
			}
		}
	}
	if refusal == nil {
		return nil
	}
	return refusal
}
