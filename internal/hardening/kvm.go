package hardening

import (
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

const kvmParameters = "/sys/module/kvm/parameters/"

var kvm = []check{
	{
		name: "/dev/kvm", severity: Should, look: checkKVMDevice,
		why: "who may open it makes VMs of its own, past all limits, and reaches the code of KVM",
	},
	{
		name: "group kvm", severity: Should, look: checkKVMGroup,
		why: "its members make VMs of their own, past all limits",
	},
	{
		name: "/dev/net/tun", severity: Info, look: checkTunDevice,
		why: "guests need it for a network; making devices with it takes CAP_NET_ADMIN",
	},
	{
		name: "nested kvm", severity: Should, look: checkNested, arch: "amd64",
		why: "KVM's emulation of virtualisation is a large surface, which guests need not reach",
	},
	{
		name: "huge pages", severity: Must, look: checkHugePages, arch: "amd64",
		why: "on processors with the iTLB multihit flaw a guest can stop the host",
	},
	{
		name: "timer period", severity: Should, look: checkTimerPeriod, arch: "amd64",
		why: "each timer interrupt of a guest costs a thread of the host that no cgroup of the VM bounds",
	},
}

func checkKVMDevice(l *look) {
	const path = "/dev/kvm"
	f, ok := l.stat(path)
	switch {
	case !ok:
	case f.mode&fs.ModeCharDevice == 0:
		l.weak("see what has made it", "it is no device")
	case f.mode.Perm()&0o006 != 0:
		l.weak(`chmod 0660 /dev/kvm, and KERNEL=="kvm", GROUP="kvm", MODE="0660" in a file of /etc/udev/rules.d`, "everybody may open it (%s)", f)
	default:
		l.ok("%s", f)
	}
}

// checkKVMGroup lists who may open /dev/kvm by group.
func checkKVMGroup(l *look) {
	f, ok := l.stat("/dev/kvm")
	if !ok {
		return
	}
	if f.gid == 0 || f.mode.Perm()&0o060 == 0 {
		l.ok("no group but root's may open /dev/kvm")
		return
	}
	name, members, ok := l.members(f.gid)
	switch {
	case !ok:
	case len(members) > 0:
		l.weak("gpasswd -d USER "+name+" for each who need not make VMs", "%s", name+": "+strings.Join(members, ", "))
	default:
		l.ok("%s has no members", name)
	}
}

// members returns the users of a group: those in its line, and those whose own group
// it is.
func (l *look) members(gid int) (name string, members []string, ok bool) {
	name = strconv.Itoa(gid)
	groups, ok := l.readPrivately("/etc/group")
	if !ok {
		return name, nil, false
	}
	const id, list = 2, 3
	for line := range strings.Lines(groups) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) > list && fields[id] == strconv.Itoa(gid) {
			name = fields[0]
			members = append(members, strings.FieldsFunc(fields[list], func(r rune) bool { return r == ',' })...)
		}
	}
	users, ok := l.readPrivately("/etc/passwd")
	if !ok {
		return name, nil, false
	}
	const own = 3
	for line := range strings.Lines(users) {
		fields := strings.Split(line, ":")
		if len(fields) > own && fields[own] == strconv.Itoa(gid) {
			members = append(members, fields[0])
		}
	}
	slices.Sort(members)
	members = slices.Compact(members)
	l.note("/etc/group", name+": "+strings.Join(members, ","))
	return name, members, true
}

func checkTunDevice(l *look) {
	f, ok := l.stat("/dev/net/tun")
	switch {
	case !ok:
	case f.mode&fs.ModeCharDevice == 0:
		l.weak("see what has made it", "it is no device")
	case f.mode.Perm()&0o006 != 0:
		l.weak("chmod 0600 /dev/net/tun, if only root makes networks here", "everybody may open it, and use devices that are made for them (%s)", f)
	default:
		l.ok("%s", f)
	}
}

func checkNested(l *look) {
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		text, ok := l.maybe("/sys/module/" + module + "/parameters/nested")
		switch {
		case !ok:
		case text == "0" || text == "N":
			l.ok("it is off")
			return
		default:
			l.weak("options "+module+" nested=0 in a file of /etc/modprobe.d, and load the module anew", "it is on in %s", module)
			return
		}
	}
	l.unknown("neither kvm_intel nor kvm_amd is loaded")
}

// checkHugePages is about Documentation/admin-guide/hw-vuln/multihit.rst.
func checkHugePages(l *look) {
	flaw, ok := l.read(vulnerabilities + "/itlb_multihit")
	if !ok {
		return
	}
	setting, ok := l.read(kvmParameters + "nx_huge_pages")
	switch {
	case !ok:
	case strings.HasPrefix(flaw, "Not affected"):
		l.ok("the processor has no such flaw")
	case setting == "N" || setting == "never" || setting == "0":
		l.weak("boot with kvm.nx_huge_pages=auto", "the processor has the flaw, and KVM does nothing about it")
	default:
		l.ok("KVM splits huge pages that are executed")
	}
}

// usualPeriod is the kernel's default, in microseconds (arch/x86/kvm/lapic.c).
const usualPeriod = 200

func checkTimerPeriod(l *look) {
	n, ok := l.number(kvmParameters + "min_timer_period_us")
	switch {
	case !ok:
	case n < usualPeriod:
		l.weak("options kvm min_timer_period_us=200 in a file of /etc/modprobe.d", "a guest may have an interrupt each %d µs", n)
	default:
		l.ok("at most one interrupt each %d µs", n)
	}
}
