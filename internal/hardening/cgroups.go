package hardening

import (
	"slices"
	"strings"

	"github.com/smartvm/smartvm/internal/mountinfo"
)

var cgroups = []check{
	{
		name: "cgroup version", severity: Should, look: checkCgroupVersion,
		why: "the old version is slow with many VMs, and can't bound writes that the kernel does later",
	},
	{
		name: "cgroup controllers", severity: Must, look: checkControllers,
		why: "without them nothing bounds the memory, processor time, disk traffic and threads of a VM",
	},
	{
		name: "favordynmods", severity: Should, look: checkFavorDynMods, arch: "amd64",
		why: "since Linux 6.1 a VM that starts in a cgroup may wait tens of milliseconds for the kernel's locks",
	},
}

// hierarchies returns the mounts of the unified hierarchy and of the old ones.
func (l *look) hierarchies() (two, one []mountinfo.Mount, ok bool) {
	mounts, ok := l.mounts()
	if !ok {
		return nil, nil, false
	}
	for _, m := range mounts {
		switch m.Kind {
		case "cgroup2":
			two = append(two, m)
		case "cgroup":
			one = append(one, m)
		}
	}
	var shown []string
	for _, m := range slices.Concat(two, one) {
		shown = append(shown, m.Kind+" at "+m.Point)
	}
	l.note(mountList, strings.Join(shown, ", "))
	return two, one, true
}

func checkCgroupVersion(l *look) {
	two, one, ok := l.hierarchies()
	const fix = "boot with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all"
	switch {
	case !ok:
	case len(two) == 0 && len(one) == 0:
		l.weak(fix, "no hierarchy is mounted")
	case len(two) == 0:
		l.weak(fix, "only version 1 is mounted")
	case len(one) > 0:
		l.weak(fix, "both versions are mounted, and version 1 has the controllers")
	default:
		l.ok("version 2")
	}
}

func checkControllers(l *look) {
	two, one, ok := l.hierarchies()
	if !ok {
		return
	}
	var have []string
	for _, m := range two {
		text, ok := l.read(m.Point + "/cgroup.controllers")
		if !ok {
			return
		}
		have = append(have, strings.Fields(text)...)
	}
	for _, m := range one {
		have = append(have, m.Super...)
	}
	var lack []string
	for _, names := range [][]string{{"cpu"}, {"memory"}, {"io", "blkio"}, {"pids"}} {
		if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(have, name) }) {
			lack = append(lack, names[0])
		}
	}
	if len(lack) > 0 {
		l.weak("boot without cgroup_disable= and cgroup_no_v1= options for them, and with a kernel that has them", "missing: %s", strings.Join(lack, ", "))
		return
	}
	l.ok("cpu, memory, io and pids are there")
}

// checkFavorDynMods is about a thread that KVM makes for each VM since Linux 6.1
// unless nx_huge_pages is never, and about the lock that moving it takes.
func checkFavorDynMods(l *look) {
	release, ok := l.read("/proc/sys/kernel/osrelease")
	if !ok {
		return
	}
	recent, known := newer(release, 6, 1)
	if !known {
		l.unknown("the kernel's release is %q", release)
		return
	}
	if !recent {
		l.ok("Linux %s does not need it", release)
		return
	}
	setting, ok := l.read(kvmParameters + "nx_huge_pages")
	if !ok {
		return
	}
	two, one, ok := l.hierarchies()
	if !ok {
		return
	}
	favors := slices.ContainsFunc(slices.Concat(two, one), func(m mountinfo.Mount) bool { return m.SuperHas("favordynmods") })
	if setting == "never" || favors {
		l.ok("KVM needs no such thread, or the cgroups are made for it")
		return
	}
	fix := "mount -o remount,favordynmods /sys/fs/cgroup"
	if flaw, ok := l.maybe(vulnerabilities + "/itlb_multihit"); ok && strings.HasPrefix(flaw, "Not affected") {
		fix = "boot with kvm.nx_huge_pages=never, which this processor allows"
	}
	l.weak(fix, "neither are huge pages left alone (kvm.nx_huge_pages=never) nor cgroups mounted with favordynmods")
}
