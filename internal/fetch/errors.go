package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

const (
	opDownload = "download"
	opLocate   = "look up"
)

var (
	errStalled = errors.New("the server sent nothing any more")
	errRange   = errors.New("the server sent another range than was asked for")
	errCut     = errors.New("the connection was cut")
)

// permanent is a failure that another try would only repeat.
type permanent struct{ error }

// Unwrap returns the cause.
func (p permanent) Unwrap() error { return p.error }

// refusal is an answer that has no content for us.
type refusal struct {
	status int
	wait   time.Duration // what Retry-After asks for, 0 when it does not
	url    string        // as shown
}

// Error says what the server answered.
func (r *refusal) Error() string {
	text := "the server answered " + strconv.Itoa(r.status)
	if words := http.StatusText(r.status); words != "" {
		text += " " + words
	}
	return text
}

// mismatch is content that is not what the source promised.
type mismatch struct{ what, want, got string }

// Error says what differs.
func (m *mismatch) Error() string { return fmt.Sprintf("its %s is %s, want %s", m.what, m.got, m.want) }

// Is matches [ErrWrongContent].
func (m *mismatch) Is(target error) bool { return target == ErrWrongContent }

// shortage is a disk that can't take the rest of the file.
type shortage struct{ need, free int64 }

// Error says how much is missing.
func (s *shortage) Error() string {
	return fmt.Sprintf("it needs %d bytes more, the file system has %d", s.need, s.free)
}

// excess is content that is larger than the caller allows.
type excess struct{ limit int64 }

// Error says how much is allowed.
func (e *excess) Error() string {
	return fmt.Sprintf("it is larger than the limit of %d bytes", e.limit)
}

// invalid reports arguments that can't be meant. The subject names no URL, which
// may hold secrets as long as it has not been understood.
func invalid(op, subject string, cause error) error {
	return &errcode.Error{Code: errcode.InvalidConfig, Op: op, Subject: subject, Err: cause}
}

// failed gives the outcome of an operation its code.
func failed(ctx context.Context, op, subject string, cause error) error {
	if ctx.Err() != nil {
		return &errcode.Error{Code: errcode.Cancelled, Op: op, Subject: subject, Err: context.Cause(ctx)}
	}
	e := &errcode.Error{Code: errcode.DownloadFailed, Op: op, Subject: subject, Err: cause}
	if refused, ok := errors.AsType[*refusal](cause); ok {
		e.StatusCode = refused.status
		e.Hint = refused.hint()
		if refused.url != subject {
			e.Details = append(e.Details, errcode.Detail{Field: "url", Message: refused.url})
		}
	}
	if wrong, ok := errors.AsType[*mismatch](cause); ok {
		e.Hint = "the file at the source has changed, or the wrong one is named"
		e.Details = append(e.Details, errcode.Detail{Field: "want", Message: wrong.want}, errcode.Detail{Field: "got", Message: wrong.got})
	}
	if isFull(cause) {
		e.Code, e.Hint = errcode.NoSpace, "free some room, or put the data directory on a larger file system"
	}
	if short, ok := errors.AsType[*shortage](cause); ok {
		e.Details = append(e.Details,
			errcode.Detail{Field: "need", Message: fmt.Sprintf("%d bytes", short.need)},
			errcode.Detail{Field: "free", Message: fmt.Sprintf("%d bytes", short.free)})
	}
	return e
}

// hint says what to do about the ordinary refusals.
func (r *refusal) hint() string {
	switch {
	case r.wait > 0:
		return "try again in " + r.wait.Round(time.Second).String()
	case r.status == http.StatusProxyAuthRequired:
		return "give the proxy in the environment its user and password"
	}
	return ""
}

func isFull(err error) bool {
	_, short := errors.AsType[*shortage](err)
	return short || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
