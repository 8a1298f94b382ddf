package hardening_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/internal/hardening"
	"github.com/smartvm/smartvm/internal/verdict"
)

// spoil is a change of a good host, and what a check has to make of it.
type spoil struct {
	check string
	want  verdict.Status
	files map[string]string // "" removes one
	host  func(*hardening.Host)
}

const (
	kernelDir = "proc/sys/kernel/"
	kvmDir    = "sys/module/kvm/parameters/"
	swaps     = "proc/swaps"
	titles    = "Filename Type Size Used Priority\n"
	mountinfo = "proc/self/mountinfo"
)

func files(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

var spoils = []spoil{
	{check: "vulnerabilities", want: verdict.Weak, files: files(vulnerability+"mds", "Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown")},
	{check: "vulnerabilities", want: verdict.Weak, files: files(vulnerability+"mds", "Mitigation: Clear CPU buffers; SMT vulnerable")},
	{check: "vulnerabilities", want: verdict.Weak, files: files(vulnerability+"l1tf", "Mitigation: PTE Inversion; VMX: vulnerable, SMT disabled")},
	{check: "vulnerabilities", want: verdict.Unknown, files: files(vulnerability+"mds", "Mitigation: Clear CPU buffers; SMT Host state unknown")},
	{check: "vulnerabilities", want: verdict.Unknown, files: files(vulnerability+"srbds", "Unknown: Dependent on hypervisor status")},
	{check: "mitigations", want: verdict.Weak, files: files("proc/cmdline", "quiet mitigations=off")},
	{check: "mitigations", want: verdict.Weak, files: files("proc/cmdline", "mitigations=auto,no_guest_host")},
	{check: "mitigations", want: verdict.OK, files: files("proc/cmdline", "quiet")},
	{check: "microcode", want: verdict.Weak, files: files(vulnerability+"old_microcode", "Vulnerable")},
	{check: "microcode", want: verdict.Weak, files: files("proc/cpuinfo", "microcode : 0x1\nmicrocode : 0x2")},
	{check: "microcode", want: verdict.Unknown, files: files(vulnerability+"old_microcode", "")},
	{check: "microcode", want: verdict.Unknown, files: files("proc/cpuinfo", "flags : fpu")},
	{check: "smt", want: verdict.Weak, files: files("sys/devices/system/cpu/smt/control", "on")},
	{check: "smt", want: verdict.Unknown, files: files("sys/devices/system/cpu/smt/control", "notimplemented")},
	{check: "smt", want: verdict.Unknown, files: files("sys/devices/system/cpu/smt/control", "notsupported", "proc/cpuinfo", "flags : fpu hypervisor")},
	{check: "microcode", want: verdict.Unknown, files: files("proc/cpuinfo", "microcode : 0x1\nflags : fpu hypervisor")},
	{check: "smt", want: verdict.OK, files: files("sys/devices/system/cpu/smt/control", "notsupported")},
	{check: "bare metal", want: verdict.Unknown, files: files("proc/cpuinfo", "flags : fpu hypervisor")},
	{check: "ecc memory", want: verdict.Unknown, files: files("sys/devices/system/edac/mc/mc0/size_mb", "", "sys/devices/system/edac/mc/power", "x")},
	{check: "time source", want: verdict.Weak, files: files("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet")},

	{check: "swap", want: verdict.Weak, files: files(swaps, titles+"/dev/sda2 partition 1 0 -2", "sys/class/block/sda2/partition", "2")},
	{check: "swap", want: verdict.Unknown, files: files(swaps, titles+"/dev/sda2 partition 1 0 -2")},
	{check: "swap", want: verdict.Unknown, files: files(swaps, titles+"/elsewhere/swap file 1 0 -2")},
	{check: "swap", want: verdict.OK, files: files(swaps, titles+"/dev/dm-1 partition 1 0 -2", "sys/class/block/dm-1/dm/uuid", "CRYPT-PLAIN-swap")},
	{check: "swap", want: verdict.OK, files: files(swaps, titles+"/dev/dm-2 partition 1 0 -2", "sys/class/block/dm-2/dm/uuid", "LVM-x",
		"sys/class/block/dm-2/slaves/dm-1/x", "1", "sys/class/block/dm-1/dm/uuid", "CRYPT-LUKS2-x")},
	{check: "swap", want: verdict.Weak, files: files(swaps, titles+"/dev/dm-2 partition 1 0 -2", "sys/class/block/dm-2/dm/uuid", "LVM-x",
		"sys/class/block/dm-2/slaves/sda3/x", "1", "sys/class/block/sda3/partition", "3")},
	{check: "swap", want: verdict.Unknown, files: files(swaps, titles+"/dev/dm-1 partition 1 0 -2", "sys/class/block/dm-1/slaves/dm-1/x", "1")}, // a loop
	{check: "swap", want: verdict.OK, files: files(swaps, titles+"/srv/vms/swap file 1 0 -2", "sys/dev/block/254:1/dm/uuid", "CRYPT-LUKS2-x")},
	{check: "swap", want: verdict.OK, files: files(swaps, titles+"/dev/zram0 partition 1 0 100", "sys/block/zram0/backing_dev", "none")},
	{check: "swap", want: verdict.Weak, files: files(swaps, titles+"/dev/zram0 partition 1 0 100", "sys/block/zram0/backing_dev", "/dev/sda9")},
	{check: "ksm", want: verdict.Weak, files: files("sys/kernel/mm/ksm/run", "1")},
	{check: "ksm", want: verdict.OK, files: files("sys/kernel/mm/ksm/run", "2")},
	{check: "ksm", want: verdict.Unknown, files: files("sys/kernel/mm/ksm/run", "x")},
	{check: "core dumps", want: verdict.Weak, files: files(kernelDir+"core_pattern", "|/usr/lib/collect %P")},
	{check: "core dumps", want: verdict.OK, files: files(kernelDir+"core_pattern", "core")},
	{check: "core dumps", want: verdict.Weak, files: files(kernelDir+"core_pattern", "core", "proc/self/limits", "Max core file size   unlimited  0  bytes")},
	{check: "core dumps", want: verdict.Unknown, files: files(kernelDir+"core_pattern", "core", "proc/self/limits", "Max file size 1 1 bytes")},

	{check: "kernel", want: verdict.Weak, files: files(kernelDir+"osrelease", "4.14.300")},
	{check: "kernel", want: verdict.Weak, files: files(kernelDir+"osrelease", "6.12.1")},
	{check: "kernel", want: verdict.OK, files: files(kernelDir+"osrelease", "6.18.2-x")},
	{check: "kernel", want: verdict.OK, files: files(kernelDir+"osrelease", "5.10")},
	{check: "kernel", want: verdict.Unknown, files: files(kernelDir+"osrelease", "x")},
	{check: "kernel", want: verdict.Weak, files: files(kernelDir+"osrelease", "6.18.2"), host: func(h *hardening.Host) { h.Firecracker.Version = "v1.12.1" }},
	{check: "kernel", want: verdict.Unknown, host: func(h *hardening.Host) { h.Firecracker.Version = "" }},
	{check: "kernel messages", want: verdict.Weak, files: files(kernelDir+"printk", "7\t4\t1\t7")},
	{check: "kernel messages", want: verdict.Unknown, files: files(kernelDir+"printk", "x")},
	{check: "user namespaces", want: verdict.Weak, files: files("proc/sys/user/max_user_namespaces", "100")},
	{check: "user namespaces", want: verdict.Weak, files: files("proc/sys/user/max_user_namespaces", "100", kernelDir+"unprivileged_userns_clone", "1")},
	{check: "user namespaces", want: verdict.OK, files: files("proc/sys/user/max_user_namespaces", "100", kernelDir+"unprivileged_userns_clone", "0")},
	{check: "user namespaces", want: verdict.OK, files: files("proc/sys/user/max_user_namespaces", "100", kernelDir+"apparmor_restrict_unprivileged_userns", "1")},
	{check: "bpf", want: verdict.Weak, files: files(kernelDir+"unprivileged_bpf_disabled", "0")},
	{check: "kernel addresses", want: verdict.Weak, files: files(kernelDir+"kptr_restrict", "0")},
	{check: "kernel log", want: verdict.Weak, files: files(kernelDir+"dmesg_restrict", "0")},
	{check: "ptrace", want: verdict.Weak, files: files(kernelDir+"yama/ptrace_scope", "0")},

	{check: "/dev/net/tun", want: verdict.Unknown, files: files("dev/net/tun", "")},
	{check: "nested kvm", want: verdict.Weak, files: files("sys/module/kvm_intel/parameters/nested", "Y")},
	{check: "nested kvm", want: verdict.Weak, files: files("sys/module/kvm_intel/parameters/nested", "", "sys/module/kvm_amd/parameters/nested", "1")},
	{check: "huge pages", want: verdict.Weak, files: files(vulnerability+"itlb_multihit", "KVM: Vulnerable", kvmDir+"nx_huge_pages", "never")},
	{check: "huge pages", want: verdict.OK, files: files(vulnerability+"itlb_multihit", "KVM: Mitigation: Split huge pages", kvmDir+"nx_huge_pages", "Y")},
	{check: "timer period", want: verdict.Weak, files: files(kvmDir+"min_timer_period_us", "10")},
	{check: "timer period", want: verdict.Unknown, files: files(kvmDir+"min_timer_period_us", "x")},
	{check: "group kvm", want: verdict.Weak, files: files("etc/group", "kvm:x:104:alice,bob")},
	{check: "group kvm", want: verdict.Weak, files: files("etc/passwd", "bob:x:1001:104::/home/bob:/bin/sh")},

	{check: "cgroup version", want: verdict.Weak, files: files(mountinfo, oneMount)},
	{check: "cgroup version", want: verdict.Weak, files: files(mountinfo, "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup none rw,cpu")},
	{check: "cgroup version", want: verdict.Weak, files: files(mountinfo, cgroup2+"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup none rw,cpu")},
	{check: "cgroup version", want: verdict.Unknown, files: files(mountinfo, "x")},
	{check: "cgroup controllers", want: verdict.Weak, files: files("sys/fs/cgroup/cgroup.controllers", "cpu io pids")},
	{check: "cgroup controllers", want: verdict.OK, files: files(mountinfo, "32 31 0:29 / /c rw - cgroup none rw,cpu,memory\n33 31 0:30 / /d rw - cgroup none rw,blkio,pids")},
	{check: "cgroup controllers", want: verdict.Weak, files: files(mountinfo, "32 31 0:29 / /c rw - cgroup none rw,cpu,memory")},
	{check: "favordynmods", want: verdict.Weak, files: files(mountinfo, strings.Replace(cgroup2, ",favordynmods", "", 1))},
	{check: "favordynmods", want: verdict.OK, files: files(mountinfo, oneMount, kvmDir+"nx_huge_pages", "never")},
	{check: "favordynmods", want: verdict.OK, files: files(mountinfo, oneMount, kernelDir+"osrelease", "5.10.1")},
	{check: "favordynmods", want: verdict.Unknown, files: files(kernelDir+"osrelease", "x")},

	{check: "jailer", want: verdict.Weak, host: func(h *hardening.Host) { h.Jailer.Version = "v1.15.0" }},
	{check: "jailer", want: verdict.Weak, host: func(h *hardening.Host) { h.Jailer = hardening.Program{Problem: "none"} }},
	{check: "jailer", want: verdict.Weak, host: func(h *hardening.Host) { h.Firecracker = hardening.Program{Problem: "none"} }},
	{check: "jailer", want: verdict.Unknown, host: func(h *hardening.Host) { h.Jailer.Version = "" }},
	{check: "programs", want: verdict.Unknown, host: func(h *hardening.Host) { h.Jailer.Path = "" }},
	{check: "programs", want: verdict.Weak, host: func(h *hardening.Host) { h.UID = 7 }},

	{check: "runtime directory", want: verdict.Weak, host: func(h *hardening.Host) { h.RuntimeDir = "" }},
	{check: "runtime directory", want: verdict.Weak, host: func(h *hardening.Host) { h.RuntimeDir = "/srv/vms/bin/jailer" }},
	{check: "runtime directory", want: verdict.Weak, host: func(h *hardening.Host) { h.UID = 7 }},
	{check: "data directory", want: verdict.Weak, host: func(h *hardening.Host) { h.DataDir = "/srv" }},
	{check: "mount options", want: verdict.Weak, files: files(mountinfo, oneMount)},
	{check: "mount options", want: verdict.Weak, files: files(mountinfo, oneMount+run+strings.Replace(data, ",nodev", "", 1))},
	{check: "mount options", want: verdict.Unknown, host: func(h *hardening.Host) { h.DataDir = "" }},
	{check: "log bounds", want: verdict.Weak, files: files(mountinfo, oneMount)},
	{check: "log bounds", want: verdict.Weak, files: files(mountinfo, strings.Replace(run, ",size=4194304k", "", 1))},
	{check: "reflink", want: verdict.Weak, files: files(mountinfo, oneMount)},

	{check: "forwarding", want: verdict.OK, files: files("proc/sys/net/ipv4/ip_forward", "0"), host: func(h *hardening.Host) { h.Firewall.Drops = nil }},
	{check: "forwarding", want: verdict.Weak, host: func(h *hardening.Host) { h.Firewall.Drops = nil }},
	{check: "forwarding", want: verdict.Unknown, host: func(h *hardening.Host) { h.Firewall = hardening.Firewall{Problem: "only root may look"} }},
	{check: "metadata address", want: verdict.Weak, host: func(h *hardening.Host) { h.Networks[0].LinkLocal = true }},
	{check: "metadata address", want: verdict.Unknown, host: func(h *hardening.Host) { h.NetworksProblem = "only root may look" }},
}

func TestEachCheckCanFail(t *testing.T) {
	t.Parallel()
	failed := map[string]bool{"bare metal": true, "ecc memory": true} // these can only be unknown
	for _, s := range append(spoils, devices()...) {
		tree := goodTree()
		for name, content := range s.files {
			if content == "" {
				delete(tree, name)
			} else {
				tree[name] = text(strings.TrimSuffix(content, "\n"))
			}
		}
		h := goodHost(tree)
		if s.host != nil {
			s.host(&h)
		}
		f := byCheck(hardening.Check(h))[s.check]
		if f.Status != s.want || f.Found == "" || f.Status == verdict.Weak && f.Fix == "" || f.Status == verdict.OK && f.Fix != "" {
			t.Errorf("%s with %v: %+v, want %s", s.check, s.files, f, s.want)
		}
		failed[s.check] = failed[s.check] || s.want == verdict.Weak
	}
	for _, f := range hardening.Check(goodHost(goodTree())) {
		if !failed[f.Check] {
			t.Errorf("nothing makes %s weak", f.Check)
		}
	}
}

// devices are changes of modes and owners.
func devices() []spoil {
	with := func(name string, mode fs.FileMode, uid, gid uint32) func(*hardening.Host) {
		return func(h *hardening.Host) {
			tree := goodTree()
			tree[name] = node(mode, uid, gid)
			h.FS = goodHost(tree).FS
		}
	}
	return []spoil{
		{check: "/dev/kvm", want: verdict.Weak, host: with("dev/kvm", device|0o666, 0, 104)},
		{check: "/dev/kvm", want: verdict.Weak, host: with("dev/kvm", 0o600, 0, 0)},
		{check: "/dev/kvm", want: verdict.OK, host: with("dev/kvm", device|0o600, 0, 0)},
		{check: "/dev/net/tun", want: verdict.Weak, host: with("dev/net/tun", device|0o666, 0, 0)},
		{check: "/dev/net/tun", want: verdict.Weak, host: with("dev/net/tun", 0o600, 0, 0)},
		{check: "group kvm", want: verdict.OK, host: with("dev/kvm", device|0o600, 0, 0)},
		{check: "programs", want: verdict.Weak, host: with("srv/vms/bin/jailer", 0o775, 0, 0)},
		{check: "programs", want: verdict.Weak, host: with("srv/vms/bin/jailer", 0o755, 5, 0)},
		{check: "programs", want: verdict.Weak, host: with("srv", fs.ModeDir|0o777, 0, 0)},
		{check: "programs", want: verdict.OK, host: with("srv", fs.ModeDir|fs.ModeSticky|0o777, 0, 0)},
		{check: "runtime directory", want: verdict.Weak, host: with("run/vms", fs.ModeDir|0o750, 1000, 1000)},
		{check: "data directory", want: verdict.Weak, host: with("srv/vms", fs.ModeDir|0o700, 5, 5)},
	}
}
