package cgroup_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/cgroup"
)

func TestFailureSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cause error
		code  errcode.Code
		hint  string
	}{
		{unix.EACCES, errcode.NotPermitted, "run as root"},
		{&fs.PathError{Op: "mkdirat", Path: "a", Err: unix.EPERM}, errcode.NotPermitted, "delegated"},
		{unix.EROFS, errcode.CgroupUnavailable, "remount"},
		{unix.EINVAL, errcode.CgroupUnavailable, ""},
		{&errcode.Error{Code: errcode.InvalidConfig, Op: "x"}, errcode.InvalidConfig, ""}, // it has said all
	} {
		err := cgroup.Failure("make cgroup", "a/b", tt.cause)
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != tt.code || !errors.Is(err, tt.cause) || !strings.Contains(e.Hint, tt.hint) || (tt.hint == "") != (e.Hint == "") {
			t.Errorf("%v: got %v", tt.cause, err)
		}
	}
	if err := cgroup.Failure("make cgroup", "a/b", nil); err != nil {
		t.Errorf("no failure is %v", err)
	}
}
