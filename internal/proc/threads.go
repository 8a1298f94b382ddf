package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/plainfile"
)

// Threads returns the names of the process's threads; none when it has ended.
func (p *Process) Threads() ([]string, error) {
	paths, err := filepath.Glob(p.procPath("task/*/comm"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, path := range paths {
		if name, err := os.ReadFile(path); err == nil { // else the thread has just ended
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	return names, nil
}

func (p *Process) procPath(name string) string {
	return "/proc/" + strconv.Itoa(p.id.PID) + "/" + name
}

// Counter counts the threads of a process at the price of one short system call.
type Counter struct{ fd int }

// CountThreads returns a counter, to be closed. That of a process that has ended
// counts none.
func (p *Process) CountThreads() (Counter, error) {
	path := p.procPath("task")
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil && !gone(err) {
		return Counter{-1}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return Counter{fd}, nil
}

// gone reports whether a file of /proc could not be read since its process has ended.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) }

// Now returns how many threads the process has; 0 when it has ended. The
// directory of the threads has a link for each.
func (c Counter) Now() int {
	const ownLinks = 2 // "." and the entry in its parent
	var st unix.Stat_t
	if err := unix.Fstat(c.fd, &st); err != nil {
		return 0
	}
	return max(int(st.Nlink)-ownLinks, 0)
}

// Close releases the counter.
func (c Counter) Close() {
	if c.fd >= 0 {
		_ = unix.Close(c.fd)
	}
}

// Confined reports whether the process's main thread has put itself under a
// seccomp filter, in addition to those that it has inherited from us. One that has
// ended has not.
func (p *Process) Confined() (bool, error) {
	own, err := ownFilters()
	if err != nil {
		return false, err
	}
	n, err := seccompFilters(p.procPath("status"))
	if gone(err) {
		return false, nil
	}
	return n > own, err
}

// ownFilters are those of this process, which a child begins with: there are
// some in most containers.
var ownFilters = sync.OnceValues(func() (int, error) { return seccompFilters("/proc/self/status") })

var errNoFilterCount = errors.New("the kernel does not tell the number of seccomp filters (Linux 5.9 is needed)")

// seccompFilters reads the number of filters out of a status file, see proc(5).
func seccompFilters(path string) (int, error) {
	text, err := plainfile.Read(path)
	if err != nil {
		return 0, err
	}
	_, rest, found := bytes.Cut(text, []byte("\nSeccomp_filters:"))
	line, _, whole := bytes.Cut(rest, []byte("\n"))
	if !found || !whole {
		return 0, errNoFilterCount
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}
