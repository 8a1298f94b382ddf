package smartvm

import (
	"context"
	"log/slog"

	"github.com/smartvm/smartvm/internal/cgroup"
	"github.com/smartvm/smartvm/internal/ledger"
)

// limit makes the control group that the VM's limits are those of.
func (l *launch) limit(context.Context) error {
	c := l.plan.config.Limits
	if c == nil {
		return nil
	}
	limits := cgroup.Limits{
		CPU: c.CPU, CPUWeight: uint64(c.CPUWeight), Memory: uint64(c.MemoryMiB) << 20, PIDs: uint64(c.PIDs),
	}
	for _, io := range c.IO {
		disks, err := cgroup.LimitFiles(l.driveFiles(io.DriveID), cgroup.Rates{
			ReadBytes: io.ReadBytesPerSecond, WriteBytes: io.WriteBytesPerSecond,
			ReadOps: uint64(io.ReadOpsPerSecond), WriteOps: uint64(io.WriteOpsPerSecond),
		})
		if err != nil {
			return err
		}
		limits.IO = append(limits.IO, disks...)
	}
	group, err := cgroup.New(cgroup.Options{Name: l.vm.ID(), Parent: l.vm.manager.opts.CgroupParent, Limits: limits})
	if err != nil {
		return err
	}
	if err := l.ledger.Make(group, group.Create); err != nil {
		return err
	}
	l.group = group
	l.vm.mu.Lock()
	defer l.vm.mu.Unlock()
	l.vm.group = group
	return nil
}

// driveFiles are the files of a drive, or of all drives, where Firecracker has them.
func (l *launch) driveFiles(id string) []string {
	var files []string
	for _, d := range l.plan.config.Drives {
		if d.PathOnHost != "" && (id == "" || d.DriveID == id) {
			files = append(files, l.plan.files.Host(driveRole(d.DriveID)))
		}
	}
	return files
}

// groupOf is the control group in a ledger; nil when there is none.
func groupOf(view *ledger.View) *cgroup.Group {
	for _, r := range view.Resources {
		if g, ok := r.(*cgroup.Group); ok {
			return g
		}
	}
	return nil
}

// overLimit says that the kernel has killed the VM for its memory limit; "" else.
func (v *VM) overLimit() string {
	v.mu.Lock()
	group := v.group
	v.mu.Unlock()
	if group == nil {
		return ""
	}
	status, err := group.Status()
	switch {
	case err != nil:
		v.manager.log.Debug("the limits of a VM that ended can't be read", slog.String("vm", v.ID()), slog.Any("err", err))
		return ""
	case status.OOMKills == 0:
		return ""
	}
	return "the kernel killed it at its memory limit, limits.memory_mib"
}
