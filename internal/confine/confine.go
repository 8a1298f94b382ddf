// Package confine reads from the kernel how a process is confined: whom it runs as,
// what it may do, what it sees and what it may use up.
//
// What was meant to be is of no interest here. [Read] looks at /proc and at the
// cgroups, and at nothing that smartvm has written down; what it can't look at it
// leaves out, and [Judge] calls that unknown. Reading it costs about a millisecond
// and leaves no trace in the process.
package confine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// Report is how a process is confined, as the kernel tells at the moment. A field
// that is nil could not be read: the process belongs to another user.
type Report struct {
	PID int `json:"pid"`
	// Name is that of the main thread, as in /proc/PID/status.
	Name string `json:"name"`

	Credentials

	Threads []Thread `json:"threads"`
	// Root is the directory that is / for the process.
	Root *Root `json:"root"`
	// Namespaces are those of [NamespaceKinds] that this kernel has.
	Namespaces []Namespace `json:"namespaces"`
	// Cgroups are those of the unified hierarchy, and of the old ones that limit anything.
	Cgroups []Cgroup        `json:"cgroups"`
	Limits  *ResourceLimits `json:"resource_limits"`
	// Environment is how many variables it was started with. What they are is not read out.
	Environment *int   `json:"environment"`
	Files       *Files `json:"files"`
	// OOMScoreAdj is from -1000, never killed for want of memory, to 1000, killed first.
	OOMScoreAdj *int `json:"oom_score_adj"`
	// Dumpable is false when nobody of the same user may read its memory. It can't be
	// told about a process of root.
	Dumpable *bool `json:"dumpable"`

	Verdicts []Verdict `json:"verdicts"`
}

// Thread is a thread of a process. The kernel keeps the seccomp filters of each.
type Thread struct {
	TID  int    `json:"tid"`
	Name string `json:"name"`
	// Seccomp is "disabled", "strict" or "filter".
	Seccomp string `json:"seccomp"`
	// Filters is the number of filters, those included that a container around this host
	// has put on all; nil before Linux 5.9.
	Filters    *int `json:"seccomp_filters"`
	NoNewPrivs bool `json:"no_new_privs"`
	// Kernel is true of a worker of the kernel that only counts as a thread of the
	// process, and never executes code of its.
	Kernel bool `json:"kernel_worker,omitempty"`
	// Differs is true when its user, groups or capabilities are not the main thread's.
	Differs bool `json:"other_credentials,omitempty"`
}

// Largest files that are read; those of /proc have no size of their own.
const (
	statusSize  = 1 << 20 // 65536 groups
	environSize = 8 << 20 // more than the kernel lets a program have
	listSize    = 16 << 20
	smallSize   = 64 << 10
)

// Read looks at a process. [proc.Gone] tells the errors of one that has ended, or
// ends meanwhile, even if its pid is in use by another process.
func Read(ctx context.Context, id proc.ID) (*Report, error) {
	dir, err := proc.OpenDir(id)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	r := &Report{PID: id.PID}
	for _, part := range []func(context.Context, proc.Dir) error{
		r.readThreads, r.readMounts, r.readNamespaces, r.readCgroups, r.readLimits, r.readEnvironment, r.readScore, r.readDumpable,
	} {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if err := part(ctx, dir); err != nil {
			return nil, err
		}
	}
	// What a process lacks that has ended meanwhile looks like what the kernel lacks.
	if err := dir.Check(id); err != nil {
		return nil, err
	}
	us, err := observe()
	if err != nil {
		return nil, err
	}
	r.Verdicts = Judge(r, us)
	return r, nil
}

// hidden reports whether an error only says that we may not look, which is no
// failure: the field stays empty.
func hidden(err error) bool { return errors.Is(err, fs.ErrPermission) }

// readThreads reads the main thread's credentials and all threads.
func (r *Report) readThreads(ctx context.Context, dir proc.Dir) error {
	text, err := dir.Read("status", statusSize)
	if err != nil {
		return err
	}
	main, err := parseStatus(text)
	if err != nil {
		return err
	}
	r.Name, r.Credentials = main.name, main.Credentials
	names, err := dir.Names("task")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		t, err := readThread(dir, name, &main.Credentials)
		if proc.Gone(err) {
			continue // the thread; if it is the process, what follows fails
		}
		if err != nil {
			return err
		}
		r.Threads = append(r.Threads, t)
	}
	slices.SortFunc(r.Threads, func(a, b Thread) int { return a.TID - b.TID })
	return nil
}

func readThread(dir proc.Dir, name string, main *Credentials) (Thread, error) {
	tid, err := strconv.Atoi(name)
	if err != nil {
		return Thread{}, err
	}
	text, err := dir.Read("task/"+name+"/status", statusSize)
	if err != nil {
		return Thread{}, err
	}
	s, err := parseStatus(text)
	if err != nil {
		return Thread{}, err
	}
	text, err = dir.Read("task/"+name+"/stat", smallSize)
	if err != nil {
		return Thread{}, err
	}
	kernel, err := isKernelWorker(text)
	return Thread{
		TID: tid, Name: s.name, Seccomp: s.seccomp, Filters: s.filters, NoNewPrivs: s.NoNewPrivs, Kernel: kernel,
		Differs: !s.sameAs(main),
	}, err
}

// Flags of a task of the kernel's include/linux/sched.h: threads that serve io_uring
// (since Linux 5.12), and those that serve vhost or KVM (since 6.4, in KVM since 6.14).
const (
	pfIOWorker   = 0x10
	pfUserWorker = 0x4000
)

func isKernelWorker(text []byte) (bool, error) {
	stat, err := proc.ParseStat(text)
	if err != nil {
		return false, err
	}
	flags, err := strconv.ParseUint(stat.Field(9), 10, 64)
	return flags&(pfIOWorker|pfUserWorker) != 0, err
}

// NamespaceKinds are the namespaces that are looked at, by their names in /proc/PID/ns.
var NamespaceKinds = []string{"mnt", "pid", "net", "ipc", "uts", "user", "cgroup"}

// Namespace is one that the process is in.
type Namespace struct {
	Kind string `json:"kind"`
	// ID is the kernel's number of it, an inode.
	ID uint64 `json:"id"`
	// Separate is true when this process is in another one.
	Separate bool `json:"separate"`
}

func (r *Report) readNamespaces(_ context.Context, dir proc.Dir) error {
	for _, kind := range NamespaceKinds {
		st, err := dir.Stat("ns/" + kind)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if hidden(err) {
			r.Namespaces = nil
			return nil
		}
		if err != nil {
			return err
		}
		var own unix.Stat_t
		if err := unix.Stat("/proc/self/ns/"+kind, &own); err != nil {
			return &os.PathError{Op: "stat", Path: "/proc/self/ns/" + kind, Err: err}
		}
		r.Namespaces = append(r.Namespaces, Namespace{kind, st.Ino, st.Ino != own.Ino})
	}
	return nil
}

func (r *Report) readEnvironment(_ context.Context, dir proc.Dir) error {
	text, err := dir.Read("environ", environSize)
	if hidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Environment = new(countVariables(text))
	clear(text)
	return nil
}

// countVariables counts the strings that are not empty, each of which ends in a zero.
func countVariables(text []byte) (n int) {
	last := byte(0)
	for _, c := range text {
		if c != 0 && last == 0 {
			n++
		}
		last = c
	}
	return n
}

func (r *Report) readScore(_ context.Context, dir proc.Dir) error {
	text, err := dir.Read("oom_score_adj", smallSize)
	if hidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	score, err := parseInt(text)
	r.OOMScoreAdj = &score
	return err
}

// readDumpable takes from the owner of a file what no file says: those in the
// directory of a process that is not dumpable belong to root (proc_pid(5)).
func (r *Report) readDumpable(_ context.Context, dir proc.Dir) error {
	st, err := dir.Stat("status")
	if err != nil {
		return err
	}
	if r.UIDs.Effective != 0 {
		r.Dumpable = new(int(st.Uid) == r.UIDs.Effective)
	}
	return nil
}
