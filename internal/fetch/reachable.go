package fetch

import (
	"errors"
	"io/fs"
	"net/http"

	"github.com/smartvm/smartvm/errcode"
)

// ErrWrongContent is matched by the error about content that is not what the
// caller, a listing or a manifest has promised.
var ErrWrongContent = errors.New("the content is not what was promised")

// Unreachable reports whether err, of a [Fetcher] or of what has wrapped its error,
// means that the source could not be asked, which another time may be different:
// no connection, one that broke off, an answer by which a server asks to try again
// (408, 425, 429, 5xx), a file that is missing as from a disk that is not mounted,
// or a network that is off limits. It is false where the source has answered, with
// another status or with content that is wrong or too large, and for all errors
// that have nothing to do with fetching.
func Unreachable(err error) bool {
	var last *errcode.Error // the innermost one knows best
	for e, ok := errors.AsType[*errcode.Error](err); ok; e, ok = errors.AsType[*errcode.Error](e.Err) {
		if e.Code == errcode.DownloadFailed || e.Code == errcode.VersionFetchFailed {
			last = e
		}
	}
	_, large := errors.AsType[*excess](err)
	switch {
	case large || errors.Is(err, ErrWrongContent):
		return false
	case last == nil:
		return errors.Is(err, fs.ErrNotExist) // a tree of files that others look through
	}
	return last.StatusCode == 0 || temporary(last.StatusCode)
}

// temporary reports whether a server that has answered with status may think
// better of it.
func temporary(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= http.StatusInternalServerError
}
