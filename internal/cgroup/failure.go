package cgroup

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// failure says what could not be done, and gives it a code unless it has one.
func failure(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	e := &errcode.Error{Code: errcode.CgroupUnavailable, Op: op, Subject: subject, Err: err}
	if inner, ok := errors.AsType[*errcode.Error](err); ok {
		e.Code = inner.Code
		return e
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Code = errcode.NotPermitted
		e.Hint = "run as root, or choose a parent in a part of the tree that is delegated to this user"
	case errors.Is(err, unix.EROFS):
		e.Hint = "mount it so that it can be written: mount -o remount,rw; in a container, that is its manager's"
	}
	return e
}

// isGone reports whether the group that was used is there no more: while it is being
// removed, the kernel says ENODEV about what is open.
func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) }
