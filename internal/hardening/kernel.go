package hardening

import (
	"slices"
	"strconv"
	"strings"
)

var kernel = []check{
	{
		name: "kernel", severity: Should, look: checkKernel,
		why: "Firecracker is tested on these kernels only (docs/kernel-policy.md)",
	},
	{
		name: "kernel messages", severity: Should, look: checkMessages,
		why: "KVM writes messages that guests cause; on a slow console they hold the host up",
	},
	{
		name: "user namespaces", severity: Should, look: checkUserNamespaces,
		why: "a user who can make them reaches parts of the kernel that only root reaches else",
	},
	{
		name: "bpf", severity: Should, why: "programs of users in the kernel help to exploit flaws of the processor",
		look: restricted("/proc/sys/kernel/unprivileged_bpf_disabled", "users may load none", "users may load programs into the kernel"),
	},
	{
		name: "kernel addresses", severity: Should, why: "who knows where the kernel is in memory needs one flaw less to take it over",
		look: restricted("/proc/sys/kernel/kptr_restrict", "they are hidden from users", "users may read them"),
	},
	{
		name: "kernel log", severity: Should, why: "it has addresses of the kernel, and what guests do",
		look: restricted("/proc/sys/kernel/dmesg_restrict", "only root reads it", "users may read it"),
	},
	{
		name: "ptrace", severity: Should, why: "a process that is taken over could read and steer others of its user",
		look: restricted("/proc/sys/kernel/yama/ptrace_scope", "only parents trace", "each process of a user may trace the others"),
	},
}

// restricted is a check of a sysctl that restricts something from 1 on.
func restricted(path, good, bad string) func(*look) {
	name := strings.ReplaceAll(strings.TrimPrefix(path, "/proc/sys/"), "/", ".")
	return func(l *look) {
		n, ok := l.number(path)
		switch {
		case !ok:
		case n < 1:
			l.weak("sysctl -w "+name+"=1, and the same in /etc/sysctl.d", "%s", bad)
		default:
			l.ok("%s", good)
		}
	}
}

// tested are the host kernels of docs/kernel-policy.md, with the Firecracker that each
// came with.
var tested = []struct {
	series       string
	major, minor int
}{{"5.10", 1, 0}, {"6.1", 1, 5}, {"6.18", 1, 16}}

func checkKernel(l *look) {
	release, ok := l.read("/proc/sys/kernel/osrelease")
	if !ok {
		return
	}
	major, minor, ok := parseRelease(release)
	if !ok {
		l.unknown("the kernel's release is %q", release)
		return
	}
	var names []string
	for _, k := range tested {
		if k.series == major+"."+minor {
			l.tested(release, k.major, k.minor)
			return
		}
		names = append(names, k.series)
	}
	l.weak("use Linux "+strings.Join(names, ", "), "Linux %s is none that Firecracker is tested on", release)
}

// tested is about a kernel that some Firecrackers are tested on.
func (l *look) tested(release string, since, sinceMinor int) {
	major, minor, ok := parseRelease(strings.TrimPrefix(l.Firecracker.Version, "v"))
	ma, err := strconv.Atoi(major)
	mi, err2 := strconv.Atoi(minor)
	switch {
	case !ok || err != nil || err2 != nil:
		l.unknown("Linux %s; which Firecracker will run on it is not known", release)
	case ma < since || ma == since && mi < sinceMinor:
		l.weak("use Firecracker v"+strconv.Itoa(since)+"."+strconv.Itoa(sinceMinor)+" or newer, or an older kernel",
			"Linux %s is tested from Firecracker v%d.%d on, and here is %s", release, since, sinceMinor, l.Firecracker.Version)
	default:
		l.ok("Linux %s", release)
	}
}

// parseRelease splits "6.18.44-x" into "6" and "18".
func parseRelease(text string) (major, minor string, ok bool) {
	major, rest, found := strings.Cut(text, ".")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	return major, rest[:end], found && end > 0 && major != ""
}

// newer reports whether a kernel's release is from major.minor on.
func newer(release string, major, minor int) (is, known bool) {
	a, b, ok := parseRelease(release)
	ma, err := strconv.Atoi(a)
	mi, err2 := strconv.Atoi(b)
	if !ok || err != nil || err2 != nil {
		return false, false
	}
	return ma > major || ma == major && mi >= minor, true
}

// checkMessages wants what Firecracker's guide does, "quiet loglevel=1". The first
// number of printk is what that comes to.
func checkMessages(l *look) {
	if _, ok := l.commandLine("quiet", "loglevel="); !ok {
		return
	}
	const path = "/proc/sys/kernel/printk"
	text, ok := l.read(path)
	if !ok {
		return
	}
	level, _, _ := strings.Cut(text, "\t")
	n, err := strconv.Atoi(level)
	switch {
	case err != nil:
		l.unknown("%s has no number: %q", path, text)
	case n > 1:
		l.weak("boot with quiet loglevel=1, or: dmesg -n 1", "those below level %d go to the console", n)
	default:
		l.ok("the console gets nothing but emergencies")
	}
}

// checkUserNamespaces knows the ways of kernels and distributions: none at all, a
// switch of Debian's, one of Ubuntu's AppArmor.
func checkUserNamespaces(l *look) {
	const most = "/proc/sys/user/max_user_namespaces"
	n, ok := l.number(most)
	if !ok {
		return
	}
	clone, hasClone := l.maybe("/proc/sys/kernel/unprivileged_userns_clone")
	armor, hasArmor := l.maybe("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
	switch {
	case n == 0, hasClone && clone == "0", hasArmor && slices.Contains([]string{"1", "2"}, armor):
		l.ok("users may make none")
	case hasClone:
		l.weak("sysctl -w kernel.unprivileged_userns_clone=0, and the same in /etc/sysctl.d", "users may make them")
	default:
		l.weak("sysctl -w user.max_user_namespaces=0, and the same in /etc/sysctl.d; rootless containers need them", "users may make them")
	}
}
