package proc

import "golang.org/x/sys/unix"

const archHere = unix.AUDIT_ARCH_X86_64

// otherABI refuses the calls of x32, which have this bit.
var otherABI = []unix.SockFilter{jump(unix.BPF_JSET, 1<<30, 0, 1), refusal(unix.ENOSYS)}

// rulesHere are about the older calls that only this architecture has.
var rulesHere = []rule{{unix.SYS_CHMOD, 1, setID, unix.EPERM}}
