package netlinux

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// failed says what could not be done. A missing capability has a code of its own,
// whatever was tried; a code that err has already is kept.
func failed(code errcode.Code, op, subject string, err error) error {
	if err == nil {
		return nil
	}
	e := &errcode.Error{Code: code, Op: op, Subject: subject, Err: err}
	if inner, ok := errors.AsType[*errcode.Error](err); ok { // it has said all that is to be said
		e.Code = inner.Code
		return e
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		e.Code = errcode.NotPermitted
		e.Hint = "it needs the capability CAP_NET_ADMIN: run it as root"
	}
	return e
}

// hint adds what to do to an error of [failed] that has no advice yet.
func hint(err error, advice string) {
	if e, ok := errors.AsType[*errcode.Error](err); ok && e.Hint == "" {
		e.Hint = advice
	}
}
