package firecracker

import (
	"context"
	"errors"
	"log/slog"

	"github.com/smartvm/smartvm/errcode"
)

// Pipeline makes several calls in one write, and waits for all answers: the
// time of one round trip instead of many. Firecracker goes through them in
// order, and on after one that it refuses. The error is that of the first
// refused call, with the others in its Details.
//
// Nothing is sent when one of the requests does not pass its check. The call
// that starts the instance can't be part of it (INVALID_CONFIG), since it must
// not happen when one of the others has failed.
func (c *Client) Pipeline(ctx context.Context, requests []Request) error {
	for _, r := range requests {
		if r.isStart() {
			return invalidRequest(r, errors.New("the start can't share a batch with the configuration that it needs"))
		}
		if err := c.check(ctx, r); err != nil {
			return err
		}
	}
	if len(requests) == 0 {
		return nil
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
