package firecracker

import (
	"context"
	"errors"
	"log/slog"

	"github.com/smartvm/smartvm/errcode"
)

// Get sends a GET as it is and returns the answer, also a refusal.
func (c *Client) Get(ctx context.Context, path string) (*Response, error) {
	return c.raw(ctx, Request{Method: methodGet, Path: path})
}

// Put sends a PUT with body as JSON, and returns the answer, also a refusal. A
// nil body is none; a json.RawMessage is sent as it is.
func (c *Client) Put(ctx context.Context, path string, body any) (*Response, error) {
	return c.raw(ctx, put(path, body))
}

// Patch sends a PATCH, as [Client.Put] does a PUT.
func (c *Client) Patch(ctx context.Context, path string, body any) (*Response, error) {
	return c.raw(ctx, patch(path, body))
}

// Delete sends a DELETE as it is and returns the answer, also a refusal.
func (c *Client) Delete(ctx context.Context, path string) (*Response, error) {
	return c.raw(ctx, remove(path))
}

func (c *Client) raw(ctx context.Context, r Request) (*Response, error) {
	answers, err := c.exchange(ctx, []Request{r})
	if err != nil {
		return nil, err
	}
	if answers[0].Deprecated {
		c.options.Logger.LogAttrs(ctx, slog.LevelWarn, "deprecated firecracker call", slog.String("op", r.String()))
	}
	return answers[0], nil
}

// Do makes the call, after its check against Firecracker's version. A refusal
// is an API_ERROR.
func (c *Client) Do(ctx context.Context, r Request) error {
	_, err := c.do(ctx, r)
	return err
}

func (c *Client) do(ctx context.Context, r Request) (*Response, error) {
	if err := c.check(ctx, r); err != nil {
		return nil, err
	}
	answer, err := c.raw(ctx, r)
	if err != nil {
		return nil, err
	}
	if !answer.OK {
		return nil, c.apiError(ctx, r, answer)
	}
	return answer, nil
}

// query makes a call whose answer is a T.
func query[T any](ctx context.Context, c *Client, path string) (T, error) {
	var out T
	r := Request{Method: methodGet, Path: path}
	answer, err := c.do(ctx, r)
	if err != nil {
		return out, err
	}
	if err := decode(answer, &out); err != nil {
		return out, &errcode.Error{Code: errcode.SocketRequestFailed, Op: opCall, Subject: r.String(), Err: err}
	}
	return out, nil
}

func decode(answer *Response, into any) error {
	if len(answer.Body) == 0 {
		return errors.New("the answer has no body")
	}
	return answer.Decode(into)
}

// check refuses what this Firecracker does not know. The version is asked for
// only when it matters.
func (c *Client) check(ctx context.Context, r Request) error {
	if r.Check(oldest) == nil {
		return nil
	}
	v, err := c.Version(ctx)
	if err != nil {
		return err
	}
	return r.Check(v)
}

// Version returns Firecracker's version: the one of the options, or what the
// process answered when it was first asked.
func (c *Client) Version(ctx context.Context) (Version, error) {
	c.mu.Lock()
	v := c.version
	c.mu.Unlock()
	if !v.IsZero() {
		return v, nil
	}
	info, err := query[VersionInfo](ctx, c, pathVersion)
	if err != nil {
		return Version{}, err
	}
	if v, err = ParseVersion(info.FirecrackerVersion); err != nil {
		return Version{}, &errcode.Error{Code: errcode.SocketRequestFailed, Op: opCall, Subject: "GET " + pathVersion, Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version = v
	return v, nil
}
