package jail

import (
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// Limits are what else the jailer is told. The zero value leaves all to it.
type Limits struct {
	NetNS    string // path of the network namespace to join
	Files    int    // open files; the jailer's default is 2048
	FileSize int64  // bytes of a file that is written; no limit by default
}

// jailerFiles is how many files a process of the jailer's may have open
// (src/jailer/src/resource_limits.rs).
const jailerFiles = 2048

// List returns the limits of resources as the jailer would set them.
func (l Limits) List() []proc.Limit {
	limits := []proc.Limit{{Resource: unix.RLIMIT_NOFILE, Max: jailerFiles}}
	if l.Files > 0 {
		limits[0].Max = uint64(l.Files)
	}
	if l.FileSize > 0 {
		limits = append(limits, proc.Limit{Resource: unix.RLIMIT_FSIZE, Max: uint64(l.FileSize)})
	}
	return limits
}
