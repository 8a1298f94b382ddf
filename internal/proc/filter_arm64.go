package proc

import "golang.org/x/sys/unix"

const archHere = unix.AUDIT_ARCH_AARCH64

// There is no other ABI of the same name, and there are no older calls.
var (
	otherABI  []unix.SockFilter
	rulesHere []rule
)
