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

// failed gives the error of a call that ended with ctx its code.
func failed(ctx context.Context, subject string, err error) error {
	if _, has := errors.AsType[*errcode.Error](err); !has && ctx.Err() != nil {
		return &errcode.Error{Code: errcode.Cancelled, Op: opPack, Subject: subject, Err: context.Cause(ctx)}
	}
	return coded(subject, err)
}

// coded gives an error its code, unless it has one. subject is the source.
func coded(subject string, err error) error {
	if inner, has := errors.AsType[*errcode.Error](err); has {
		if inner.Subject == "" {
			inner.Subject = subject
		}
		return err
	}
	e := &errcode.Error{Code: errcode.RootfsCreateFailed, Op: opPack, Subject: subject, Err: err}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		e.Code, e.Hint = errcode.NoSpace, "free some room, or write the image to a larger file system"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		e.Hint = "run as root, or as the owner of the files"
	case errors.Is(err, errChanged):
		e.Hint = "pack a tree that nobody writes to"
	}
	return e
}
