package smartvm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/vmconfig"
)

// minFileSize is what a VM's log and its standard error may grow to in any case, in bytes.
const minFileSize = 64 << 20

// fileSize is how large a file a confined Firecracker may write, in bytes; 0 is no limit.
//
// A guest can make Firecracker log without end, and so fill the memory of the host, in
// which the log is by default. Nothing that a VM writes is larger than its drives, and
// its memory, which goes into a snapshot. But a file of metrics, or a log that the caller
// has named, grows for as long as the VM lives, and to end it for that is not for us.
func (l *launch) fileSize(files *jail.Table) int64 {
	if l.op != opStart {
		return 0 // what a snapshot has is not known
	}
	limit := max(minFileSize, int64(l.plan.config.GuestMiB())<<20)
	for _, f := range files.Files {
		if f.Access&jail.Write == 0 {
			continue
		}
		info, err := os.Stat(f.Host)
		if err != nil || info.Mode()&os.ModeDevice != 0 {
			return 0
		}
		switch vmconfig.Role(f.Role) {
		case vmconfig.RoleLog, vmconfig.RoleMetrics, vmconfig.RoleSerial:
			if info.Mode().IsRegular() && filepath.Dir(f.Host) != l.vm.Dir() {
				return 0
			}
		default:
			limit = max(limit, info.Size())
		}
	}
	return limit
}

// allowFileSize raises that limit, but not one that the config sets, for a file that
// the VM gets later.
func (v *VM) allowFileSize(process *proc.Process, host string) error {
	if v.config.Jail != nil && v.config.Jail.MaxFileSize > 0 {
		return nil
	}
	info, err := os.Stat(host)
	if err != nil {
		return err
	}
	err = process.AllowFileSize(uint64(info.Size()))
	if errors.Is(err, unix.EPERM) {
		return &Error{
			Code: errcode.JailFailed, Op: "raise max_file_size", Subject: string(v.id), Err: err,
			Hint: fmt.Sprintf("start the VM with jail.max_file_size %d, or smartvm with CAP_SYS_RESOURCE", info.Size()),
		}
	}
	return err
}
