package pack

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

const opPack = "pack root file system"

// entryError says which entry of the source an error is about.
type entryError struct {
	name string
	err  error
}

func (e *entryError) Error() string { return fmt.Sprintf("entry %q: %v", e.name, e.err) }

func (e *entryError) Unwrap() error { return e.err }

// failed gives an error its code, unless it has one. subject is the source.
func failed(ctx context.Context, subject string, err error) error {
	if inner, has := errors.AsType[*errcode.Error](err); has {
		if inner.Subject == "" {
			inner.Subject = subject
		}
		return err
	}
	e := &errcode.Error{Code: errcode.RootfsCreateFailed, Op: opPack, Subject: subject, Err: err}
	switch {
	case ctx.Err() != nil:
		e.Code, e.Err = errcode.Cancelled, context.Cause(ctx)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		e.Code, e.Hint = errcode.NoSpace, "free some room, or write the image to a larger file system"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		e.Hint = "run as root, or as the owner of the files"
	case errors.Is(err, errChanged):
		e.Hint = "pack a tree that nobody writes to"
	}
	return e
}
