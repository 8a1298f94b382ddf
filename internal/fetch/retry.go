package fetch

import (
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retries counts the tries of one download.
type retries struct {
	options *Options
	failed  int   // in a row, without progress
	best    int64 // most bytes that were there at the end of a try
}

// next returns how long to wait before another try, and whether there is one.
// done is how many bytes the failed try has reached, of total or, when that is 0,
// of unknown many.
//
// Progress forgives all failures before it. What counts as progress is a
// noticeable share and beyond what any try has reached: a server that sends a
// byte per connection, or the first half again and again, ends sometime.
func (r *retries) next(err error, done, total int64) (time.Duration, bool) {
	const shares, unknown = 64, 1 << 20
	share := int64(unknown)
	if total > 0 {
		share = max(1, total/shares)
	}
	if done >= r.best+share {
		r.best, r.failed = done, 0
	} else {
		r.failed++
	}
	if isPermanent(err) || r.failed >= r.options.Attempts {
		return 0, false
	}
	wait := r.backoff()
	if refused, ok := errors.AsType[*refusal](err); ok {
		if refused.wait > r.options.MaxRetryAfter {
			return 0, false
		}
		wait = max(wait, refused.wait)
	}
	return wait, true
}

// backoff doubles with each failure. Its random half keeps those apart who have
// been cut off together.
func (r *retries) backoff() time.Duration {
	wait := r.options.Backoff
	for range r.failed - 1 {
		wait = min(2*wait, r.options.MaxBackoff)
	}
	wait = min(wait, r.options.MaxBackoff)
	return wait/2 + rand.N(wait/2+1) //nolint:gosec // nobody gains by guessing it
}

func isPermanent(err error) bool {
	if _, ok := errors.AsType[permanent](err); ok {
		return true
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		return !temporary(refused.status)
	}
	_, large := errors.AsType[*excess](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return large || untrusted
}

// retryAfter reads the header of that name, seconds or a date (RFC 9110, 10.2.3).
// What can't be read, or is over, asks for nothing.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
