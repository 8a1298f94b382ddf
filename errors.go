package smartvm

import (
	"context"

	"github.com/smartvm/smartvm/errcode"
)

// Error is the error type of all packages of smartvm; see [errcode.Error].
type Error = errcode.Error

// Code is a stable reason for a failure. It can be the target of errors.Is:
//
//	errors.Is(err, smartvm.InvalidState)
type Code = errcode.Code

// The codes that this package itself returns. All are in package errcode.
const (
	InvalidState   = errcode.InvalidState
	InvalidConfig  = errcode.InvalidConfig
	StartFailed    = errcode.StartFailed
	NoClient       = errcode.NoClient
	VMExists       = errcode.VMExists
	VMNotFound     = errcode.VMNotFound
	VMOwned        = errcode.VMOwned
	ProcessExited  = errcode.ProcessExited
	Cancelled      = errcode.Cancelled
	StopFailed     = errcode.StopFailed
	CleanupFailed  = errcode.CleanupFailed
	KVMUnavailable = errcode.KVMUnavailable
	SocketTimeout  = errcode.SocketTimeout
	APIError       = errcode.APIError
	APITimeout     = errcode.APITimeout
	JailFailed     = errcode.JailFailed
	UIDExhausted   = errcode.UIDExhausted
)

// cancelled is the error of what the end of ctx has cut short.
func cancelled(ctx context.Context, op, subject string) *Error {
	return &Error{Code: errcode.Cancelled, Op: op, Subject: subject, Err: context.Cause(ctx)}
}
