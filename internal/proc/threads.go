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

// Thread is a thread of a process.
type Thread struct {
	Name   string
	Asleep bool // it waits for something, and not for a processor or a disk
}

// Threads returns the process's threads; none when it has ended.
func (p *Process) Threads() ([]Thread, error) {
	paths, err := filepath.Glob(p.procPath("task/*/stat"))
	if err != nil {
		return nil, err
	}
	var threads []Thread
	for _, path := range paths {
		text, err := plainfile.Read(path)
		if err != nil {
			continue // the thread has just ended
		}
		t, err := parseThread(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		threads = append(threads, t)
	}
	return threads, nil
}

// WaitsForThread reports whether the process's main thread waits for another one
// (futex(2)). It takes the right to trace the process; without, the answer is false.
func (p *Process) WaitsForThread() bool {
	text, err := plainfile.Read(p.procPath("syscall"))
	number, _, _ := strings.Cut(string(text), " ")
	return err == nil && number == strconv.Itoa(unix.SYS_FUTEX)
}

// parseThread reads a stat file. The name in it may hold anything.
func parseThread(text []byte) (Thread, error) {
	stat, err := ParseStat(text)
	from, to := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if err == nil && (from < 0 || to < from) {
		err = fmt.Errorf("%.40q has no name", text)
	}
	if err != nil {
		return Thread{}, err
	}
	return Thread{Name: string(text[from+1 : to]), Asleep: stat.Field(3) == "S"}, nil
}

func (p *Process) procPath(name string) string {
	return "/proc/" + strconv.Itoa(p.id.PID) + "/" + name
}

// CountThreads returns how many threads the process has; 0 when it has ended. The
// directory of the threads has a link for each, so that one short system call tells.
func (p *Process) CountThreads() (int, error) {
	const ownLinks = 2 // "." and the entry in its parent
	path := p.procPath("task")
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	switch {
	case err == nil:
		return max(int(st.Nlink)-ownLinks, 0), nil
	case gone(err):
		return 0, nil
	default:
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
}

// gone reports whether a file of /proc could not be read since its process has ended.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) }

// Confined reports whether the process's main thread has put itself under a
// seccomp filter, in addition to those that it has been started with. One that has
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
	return n > own+p.filter, err
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
