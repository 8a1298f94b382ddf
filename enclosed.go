package smartvm

import (
	"context"
	"os"
	"slices"

	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/internal/proc"
)

// enclosed reports whether Firecracker gets into its jail without the jailer. A restore can
// do that: what the jailer sets before Firecracker's first step, such as limits, it needs
// no sooner than its guest goes on.
func (l *launch) enclosed() bool { return l.restore != nil && l.plan.files.Jail != nil }

// viaJailer reports whether the jailer brings it there.
func (l *launch) viaJailer() bool { return l.restore == nil && l.plan.files.Jail != nil }

// runEnclosed starts Firecracker in a jail without the jailer. All VMs of one snapshot,
// which share its memory, have the same copy of it.
func (l *launch) runEnclosed(role string, j *jail.Jail, entrance *jail.Entrance, limits jail.Limits, args []string, spec proc.Spec) (*proc.Process, error) {
	program, err := l.vm.manager.bare.Program(l.binary.Path, l.restore.manifest.ID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = program.Return() }()
	if err := entrance.Furnish(program); err != nil {
		return nil, err
	}
	if limits.NetNS != "" {
		ns, err := os.Open(limits.NetNS)
		if err != nil {
			return nil, err
		}
		defer ns.Close()
		entrance.Network = ns
	}
	spec.Isolate, spec.Ahead = l.entering(entrance.Enclose), l.ahead
	spec.Path, spec.Args, spec.Dir = "/"+program.Name(), append([]string{"--id", l.vm.ID()}, args...), "/"
	spec.User, spec.Limits, spec.Closed = &proc.User{UID: j.UID, GID: j.GID}, limits.List(), true
	return startRecorded(l.ledger, role, spec)
}

// stages reports whether the VM gets a copy of a file.
func (l *launch) stages(f jail.File) bool {
	return slices.ContainsFunc(l.plan.stage, func(job stageJob) bool { return driveRole(job.id) == f.Role })
}

// bringCopies lets the copies of drives into the jail of a Firecracker that has started
// without them.
func (l *launch) bringCopies(ctx context.Context) error {
	var copies []jail.File
	for _, f := range l.plan.files.Files {
		if l.stages(f) {
			copies = append(copies, f)
		}
	}
	return l.vm.admit(ctx, l.plan.files.Jail, l.process, copies...)
}
