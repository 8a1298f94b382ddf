package proc

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/plainfile"
)

// Limit is a resource that a process may have so much of (setrlimit(2)), such as
// unix.RLIMIT_NOFILE.
type Limit struct {
	Resource int
	Max      uint64
}

func (l Limit) set(pid int) error {
	return os.NewSyscallError("prlimit", unix.Prlimit(pid, l.Resource, &unix.Rlimit{Cur: l.Max, Max: l.Max}, nil))
}

// AllowFileSize lets the process write files of so many bytes, if it has a limit that is
// lower (RLIMIT_FSIZE of setrlimit(2)). To raise one takes CAP_SYS_RESOURCE.
func (p *Process) AllowFileSize(size uint64) error {
	// While it is pinned by its pidfd, nobody reaps it but us, if it is our child. Else its
	// pid may be another's by now, who then may write larger files, and is none the worse.
	return p.Control(func(int) error {
		limit, limited, err := p.fileSizeLimit()
		if err != nil || !limited || limit >= size {
			return err
		}
		if err = (Limit{unix.RLIMIT_FSIZE, size}).set(p.id.PID); errors.Is(err, unix.ESRCH) {
			return errGone
		}
		return err
	})
}

// fileSizeLimit reads a limit where it takes no capability, as prlimit(2) does.
func (p *Process) fileSizeLimit() (limit uint64, limited bool, err error) {
	text, err := plainfile.Read(p.procPath("limits"))
	if gone(err) {
		return 0, false, errGone
	}
	if err != nil {
		return 0, false, err
	}
	_, rest, _ := bytes.Cut(text, []byte("\nMax file size"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, false, errors.New("the kernel does not tell the limit of a file's size")
	}
	if string(fields[0]) == "unlimited" {
		return 0, false, nil
	}
	limit, err = strconv.ParseUint(string(fields[0]), 10, 64)
	return limit, true, err
}
