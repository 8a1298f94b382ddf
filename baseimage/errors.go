package baseimage

import (
	"context"
	"errors"
	"syscall"

	"github.com/smartvm/smartvm/errcode"
)

const (
	opOpen   = "open base image cache"
	opEnsure = "ensure base image"
	opList   = "list base images"
	opVerify = "verify base image"
	opRemove = "remove base image"
	opPrune  = "prune base images"
	opPin    = "pin base image"
)

// wrap gives an error of a call its code, and leaves one that is precise already.
func wrap(ctx context.Context, op, subject string, err error) error {
	if err == nil {
		return nil
	}
	if own, ok := err.(*errcode.Error); ok && own.Op == op && ctx.Err() == nil { //nolint:errorlint // an inner one of it would be another call's
		return err
	}
	e := &errcode.Error{Code: errcode.Of(err, errcode.BaseImagePrepareFailed), Op: op, Subject: subject, Err: err}
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		e.Code = errcode.Cancelled
	case errors.Is(err, errInUse):
		e.Code = errcode.BaseImageInUse
		e.Hint = "stop the VMs and close the programs that use it"
	case e.Code == errcode.BaseImagePrepareFailed && isFull(err):
		e.Code = errcode.NoSpace
		e.Hint = "free some room, remove base images, or put the cache on a larger file system"
	}
	return e
}

// isFull reports whether a file system had no room.
func isFull(err error) bool {
	return errors.Is(err, errcode.NoSpace) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func invalid(op, field, message string) error {
	return &errcode.Error{
		Code: errcode.InvalidConfig, Op: op,
		Details: []errcode.Detail{{Field: field, Message: message}},
	}
}

// absent is the error about a bundle that is not in the cache.
func absent(op, id string) error {
	return &errcode.Error{
		Code: errcode.BaseImageResolveFailed, Op: op, Subject: id,
		Err: errors.New("it is not in the cache"), Hint: "smartvm image ls lists what is there",
	}
}
