package smartvm

import (
	"context"
	"errors"
	"fmt"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/confine"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/internal/verdict"
)

// Security is how a VM's Firecracker is confined, as the kernel tells: users, groups
// and capabilities, seccomp filters of each thread, root directory, namespaces,
// cgroups and limits, open files. Its Verdicts judge each item.
type Security = confine.Report

// SecurityThread is a thread of a Security.
type SecurityThread = confine.Thread

// SecurityCgroup is a cgroup of a Security, with the limits that bind the process.
type SecurityCgroup = confine.Cgroup

// SecurityVerdict judges one item of a Security: what is so, and what to do about it.
type SecurityVerdict = confine.Verdict

// SecurityStatus is the outcome of one look.
type SecurityStatus = verdict.Status

// The outcomes. What could not be read is unknown, and never ok.
const (
	SecurityOK      = verdict.OK
	SecurityWeak    = verdict.Weak
	SecurityUnknown = verdict.Unknown
)

// Security reads from the kernel how the VM's Firecracker is confined at this moment,
// whoever started it and whatever was meant. It asks neither Firecracker nor smartvm's
// own records, takes about a millisecond, and waits for no other operation, so that it
// works on a VM that hangs too. What only root may look at is unknown to others.
// Errors: INVALID_STATE, PROCESS_EXITED, CANCELLED.
func (v *VM) Security(ctx context.Context) (*Security, error) {
	if err := v.State().check(opSecurity, string(v.id)); err != nil {
		return nil, err
	}
	v.mu.Lock()
	process := v.process
	v.mu.Unlock()
	if process == nil { // it is about to be started
		return nil, v.noClient(string(opSecurity))
	}
	report, err := confine.Read(ctx, process.ID())
	if err == nil {
		return report, nil
	}
	e := &Error{Op: string(opSecurity), Subject: string(v.id), Err: err}
	switch {
	case ctx.Err() != nil:
		e.Code = errcode.Cancelled
	case proc.Gone(err):
		e.Code, e.Err = errcode.ProcessExited, errors.New("firecracker has ended")
	default:
		e.Err = fmt.Errorf("read how %s is confined: %w", process.ID(), err)
	}
	return nil, e
}
