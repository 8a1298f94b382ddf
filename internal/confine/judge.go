package confine

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/internal/verdict"
)

// Verdict judges one item of a report.
type Verdict struct {
	Item   string         `json:"item"`
	Status verdict.Status `json:"status"`
	// Found is a sentence about what is so.
	Found string `json:"found"`
	// Fix is what to do when the status is not ok.
	Fix string `json:"fix,omitempty"`
}

// Observer are facts about who looks and where, which the same report is worth more
// or less by.
type Observer struct {
	UID int // this process's
	// Filters are the seccomp filters of this process: a container has put them on us, and
	// on what we start. Nil before Linux 5.9.
	Filters *int
	// CorePattern says where core files go, see core(5).
	CorePattern string
}

// observe looks at this process and this host.
func observe() (Observer, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return Observer{}, err
	}
	own, err := parseStatus(text)
	if err != nil {
		return Observer{}, err
	}
	// Where that can't be read, a core file is taken to be possible.
	pattern, _ := os.ReadFile("/proc/sys/kernel/core_pattern")
	return Observer{os.Geteuid(), own.filters, strings.TrimSpace(string(pattern))}, nil
}

const leaveOn = "leave the jail on"

// Judge judges a report. It always has the same items in the same order.
func Judge(r *Report, us Observer) []Verdict {
	return []Verdict{
		judgeUser(r, us), judgeGroups(r), judgeCapabilities(r), judgePrivileges(r), judgeSeccomp(r, us), judgeRoot(r),
		judgeNamespace(r, "mnt", "mount namespace", leaveOn, "it would see what the host mounts"),
		judgePIDs(r, us),
		judgeNamespace(r, "net", "network namespace", "run it in a network namespace of its own (the jailer's --netns)",
			"it could connect to the host's abstract Unix sockets"),
		judgeCgroups(r), judgeLimits(r), judgeCore(r, us), judgeEnvironment(r), judgeFiles(r), judgeScore(r),
	}
}

func good(item, format string, args ...any) Verdict {
	return Verdict{item, verdict.OK, fmt.Sprintf(format, args...), ""}
}

func weak(item, fix, format string, args ...any) Verdict {
	return Verdict{item, verdict.Weak, fmt.Sprintf(format, args...), fix}
}

func unknown(item string) Verdict {
	return Verdict{item, verdict.Unknown, "the kernel does not show it to this user", "look as root"}
}

func judgeUser(r *Report, us Observer) Verdict {
	const item = "user"
	uid, gid := r.UIDs.Effective, r.GIDs.Effective
	switch {
	case r.UIDs.Has(0):
		return weak(item, leaveOn, "it runs as root, so code that breaks out of the guest is root too")
	case r.GIDs.Has(0):
		return weak(item, leaveOn, "it runs as user %d in root's group, whose files it may use", uid)
	case r.UIDs.Has(us.UID):
		return weak(item, leaveOn, "it runs as the user who looks, %d, and may do with that user's files and processes what it likes", uid)
	}
	return good(item, "it runs as user %d and group %d", uid, gid)
}

func judgeGroups(r *Report) Verdict {
	const item = "groups"
	others := slices.DeleteFunc(slices.Clone(r.Groups), func(g int) bool { return g == r.GIDs.Effective })
	if len(others) > 0 {
		return weak(item, leaveOn, "it is in %s", enumerate("supplementary group", "supplementary groups", numbers(others)))
	}
	return good(item, "it is in no supplementary group")
}

func judgeCapabilities(r *Report) Verdict {
	const item = "capabilities"
	if usable := r.Capabilities.Usable(); len(usable) > 0 {
		return weak(item, leaveOn, "it has %s", enumerate("capability", "capabilities", usable))
	}
	for _, t := range r.Threads {
		if t.Differs && !t.Kernel {
			return weak(item, "find out who changed it: Firecracker does not", "thread %q has another user, other groups or other capabilities", t.Name)
		}
	}
	return good(item, "it has none")
}

func judgePrivileges(r *Report) Verdict {
	const item = "no_new_privs"
	for _, t := range r.Threads {
		if !t.Kernel && !t.NoNewPrivs {
			return weak(item, "start it without --no-seccomp: Firecracker sets it together with its filters",
				"thread %q could get rights by executing a program that has some", t.Name)
		}
	}
	return good(item, "no program that it executes gives it rights")
}

func judgeSeccomp(r *Report, us Observer) Verdict {
	const item, fix = "seccomp", "start it without --no-seccomp, with Firecracker's own filters"
	for _, t := range r.Threads {
		switch {
		case t.Kernel, t.Seccomp == "strict":
		case t.Seccomp != "filter":
			return weak(item, fix, "thread %q may make every system call", t.Name)
		case t.Filters == nil || us.Filters == nil:
			return Verdict{item, verdict.Unknown, "a filter is there, and this kernel does not tell whether it is Firecracker's own", "use Linux 5.9 or newer"}
		case *t.Filters <= *us.Filters:
			return weak(item, fix, "thread %q has no filter but what this host puts on all", t.Name)
		}
	}
	return good(item, "each thread is under a filter")
}

func judgeRoot(r *Report) Verdict {
	const item = "root directory"
	switch {
	case r.Root == nil:
		return unknown(item)
	case r.Root.Own:
		return weak(item, leaveOn, "it sees the whole tree of files of this host")
	case r.Root.Path == "":
		return good(item, "it sees a directory that is mounted nowhere here")
	}
	return good(item, "it sees nothing but %s", r.Root.Path)
}

func judgeNamespace(r *Report, kind, item, fix, so string) Verdict {
	i := slices.IndexFunc(r.Namespaces, func(n Namespace) bool { return n.Kind == kind })
	switch {
	case i < 0:
		return unknown(item)
	case !r.Namespaces[i].Separate:
		return weak(item, fix, "it shares ours: code that breaks out of the guest has a way further, since %s", so)
	}
	return good(item, "it has one of its own")
}

// judgePIDs lets a shared namespace pass where it is of no use: there is no /proc to
// see processes by, and a user of its own may signal nobody else.
func judgePIDs(r *Report, us Observer) Verdict {
	const item = "pid namespace"
	v := judgeNamespace(r, "pid", item, leaveOn, "it could see or signal other processes")
	alone := r.Root != nil && !r.Root.Own && !r.Root.Proc && !r.UIDs.Has(0) && !r.UIDs.Has(us.UID)
	if v.Status == verdict.Weak && alone && len(r.Capabilities.Usable()) == 0 {
		return good(item, "it shares ours, but has no /proc to see it by, and its user may signal no others")
	}
	return v
}

func judgeCgroups(r *Report) Verdict {
	const item = "cgroup limits"
	limited, unread := map[string]bool{}, len(r.Cgroups) == 0
	for _, g := range r.Cgroups {
		unread = unread || g.Limits == nil
		for _, l := range g.Limits {
			limited[l.Controller] = true
		}
	}
	var without []string
	for _, controller := range []string{"memory", "cpu", "pids"} {
		if !limited[controller] {
			without = append(without, controller)
		}
	}
	switch {
	case len(without) == 0:
		return good(item, "its memory, processor time and number of threads are bounded")
	case unread:
		return Verdict{item, verdict.Unknown, "the limits of its cgroups can't be read here", "look as root, outside of a container"}
	}
	return weak(item, "give the VM limits, or run it in a cgroup that has some", "nothing bounds its use of %s", strings.Join(without, ", "))
}

// mostFiles is twice what the jailer lets a Firecracker open unless it is told
// otherwise (no-file in src/jailer/src/resource_limits.rs).
const mostFiles = 2 * 2048

func judgeLimits(r *Report) Verdict {
	const item, fix = "resource limits", leaveOn + ", which limits both"
	switch {
	case r.Limits == nil:
		return unknown(item)
	case r.Limits.OpenFiles.Hard == nil || *r.Limits.OpenFiles.Hard > mostFiles:
		return weak(item, fix, "it may open %s files", r.Limits.OpenFiles)
	case r.Limits.FileSize.Hard == nil:
		return weak(item, fix, "the files that it writes may grow as long as there is room: logs, metrics and drives")
	}
	return good(item, "it may open %s files, and write %s bytes into one", r.Limits.OpenFiles, r.Limits.FileSize)
}

// judgeCore is about the guest's memory in a core file, after a crash: only the soft
// limit counts, since nobody raises it then. A limit of 0 does not keep the kernel
// from piping one into a program (core(5)).
func judgeCore(r *Report, us Observer) Verdict {
	const item = "core dumps"
	switch {
	case r.Dumpable != nil && !*r.Dumpable:
		return good(item, "the kernel makes none of it")
	case r.Limits == nil:
		return unknown(item)
	case strings.HasPrefix(us.CorePattern, "|/bin/false"):
		return good(item, "this host throws them away")
	case strings.HasPrefix(us.CorePattern, "|"):
		return weak(item, "sysctl kernel.core_pattern='|/bin/false', or see that the program keeps none",
			"if it crashes, the guest's memory goes to %q, whatever its limits", strings.TrimPrefix(us.CorePattern, "|"))
	case r.Limits.CoreSize.Soft == nil || *r.Limits.CoreSize.Soft > 0:
		return weak(item, "limit core files to 0 (ulimit -c 0) where smartvm runs", "if it crashes, the guest's memory may go to a core file (limit %s)", r.Limits.CoreSize)
	}
	return good(item, "its limit is 0")
}

func judgeEnvironment(r *Report) Verdict {
	const item = "environment"
	switch {
	case r.Environment == nil:
		return unknown(item)
	case *r.Environment > 0:
		return weak(item, leaveOn, "it was started with %d variables, which may hold secrets", *r.Environment)
	}
	return good(item, "it is empty")
}

// judgeFiles lets standard input, output and error pass: they are the console. A
// directory is a way out of the jail.
func judgeFiles(r *Report) Verdict {
	const item, stderr = "open files", 2
	if r.Files == nil {
		return unknown(item)
	}
	var given []string
	for _, f := range r.Files.Outside {
		if f.Kind == "directory" || f.FD > stderr {
			given = append(given, f.Path)
		}
	}
	switch {
	case len(given) > 0:
		return weak(item, "close them in the program that starts VMs (O_CLOEXEC)", "it holds files from outside of its root: %s", strings.Join(given, ", "))
	case len(r.Files.Outside) > 0:
		return good(item, "of %d only its console lies outside of its root", r.Files.Open)
	}
	return good(item, "none of %d lies outside of its root", r.Files.Open)
}

func judgeScore(r *Report) Verdict {
	const item = "oom score"
	switch {
	case r.OOMScoreAdj == nil:
		return unknown(item)
	case *r.OOMScoreAdj < 0:
		return weak(item, "start smartvm with an oom_score_adj of 0 or more", "short of memory, the kernel would rather kill others (%d)", *r.OOMScoreAdj)
	}
	return good(item, "short of memory, the kernel does not spare it (%d)", *r.OOMScoreAdj)
}
