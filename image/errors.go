package image

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

const hintNoSpace = "free some room, or put the data directory on a larger file system"

// failed gives an error its code: the one that it has, CANCELLED when ctx has
// ended, NO_SPACE when a file system was full, else the given one.
func failed(ctx context.Context, code errcode.Code, op, subject string, err error, hint string) error {
	if ctx.Err() != nil {
		return &errcode.Error{Code: errcode.Cancelled, Op: op, Subject: subject, Err: context.Cause(ctx)}
	}
	if _, ok := errors.AsType[*errcode.Error](err); ok {
		return err
	}
	if isFull(err) {
		code, hint = errcode.NoSpace, hintNoSpace
	}
	return &errcode.Error{Code: code, Op: op, Subject: subject, Err: err, Hint: hint}
}

// isFull reports whether a file system had no room.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
