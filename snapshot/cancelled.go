package snapshot

import (
	"context"
	"errors"

	"github.com/smartvm/smartvm/errcode"
)

const (
	opCheck  = "check snapshot"
	opVerify = "verify snapshot"
	opMerge  = "merge snapshot"
	opFinish = "finish snapshot"
	opImport = "import snapshot"
	opExport = "export snapshot"
)

// reason is the code of an error: CANCELLED where the end of ctx is all that there is to
// it, and fallback for what has no code either.
func reason(ctx context.Context, err error, fallback errcode.Code) errcode.Code {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
		fallback = errcode.Cancelled
	}
	return errcode.Of(err, fallback)
}

// coded gives an error that is no more than the end of ctx its code.
func coded(ctx context.Context, op, subject string, err error) error {
	if errcode.Of(err, "") != "" || reason(ctx, err, "") != errcode.Cancelled {
		return err
	}
	return &errcode.Error{Code: errcode.Cancelled, Op: op, Subject: subject, Err: err}
}
