package hardening_test

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/hardening"
	"github.com/smartvm/smartvm/internal/verdict"
)

// tree is a host's files by their paths.
type tree map[string]*fstest.MapFile

func text(content string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(content + "\n"), Mode: 0o444}
}

func node(mode fs.FileMode, uid, gid uint32) *fstest.MapFile {
	return &fstest.MapFile{Mode: mode, Sys: &syscall.Stat_t{Uid: uid, Gid: gid}}
}

const (
	device   = fs.ModeDevice | fs.ModeCharDevice
	oneMount = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
	cgroup2  = "31 23 0:28 / /sys/fs/cgroup rw,nosuid,nodev,noexec - cgroup2 none rw,nsdelegate,favordynmods\n"
	run      = "40 27 0:40 / /run/vms rw,nosuid,nodev,noexec - tmpfs none rw,size=4194304k\n"
	data     = "41 27 254:1 / /srv/vms rw,nosuid,nodev - xfs /dev/vdb rw\n"
)

// goodTree is a host that nothing is wrong with.
func goodTree() tree {
	t := tree{
		"proc/swaps":          text("Filename\tType\tSize\tUsed\tPriority"),
		"proc/cmdline":        text("BOOT_IMAGE=/vmlinuz secret=hidden-value quiet loglevel=1 mitigations=auto,nosmt -- mitigations=off"),
		"proc/cpuinfo":        text("processor\t: 0\nmicrocode\t: 0x2b\nflags\t\t: fpu vmx\n\nprocessor\t: 1\nmicrocode\t: 0x2b\nflags\t\t: fpu vmx"),
		"proc/self/mountinfo": text(oneMount + cgroup2 + run + strings.TrimSpace(data)),
		"proc/self/limits":    text("Limit  Soft Limit  Hard Limit  Units\nMax core file size        0                    unlimited            bytes"),
		"etc/group":           text("root:x:0:\nkvm:x:104:"),
		"etc/passwd":          text("root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh"),
		"dev/kvm":             node(device|0o660, 0, 104),
		"dev/net/tun":         node(device|0o600, 0, 0),
		"run/vms":             node(fs.ModeDir|0o700, 1000, 1000),
		"srv/vms":             node(fs.ModeDir|0o700, 1000, 1000),
		"srv/vms/bin":         node(fs.ModeDir|0o700, 1000, 1000),
		"srv":                 node(fs.ModeDir|0o755, 0, 0),
		".":                   node(fs.ModeDir|0o755, 0, 0),

		"sys/devices/system/edac/mc/mc0/size_mb": text("1"),
		"sys/fs/cgroup/cgroup.controllers":       text("cpuset cpu io memory pids"),
	}
	for _, name := range []string{"firecracker", "jailer"} {
		t["srv/vms/bin/"+name] = node(0o755, 0, 0)
	}
	for name, content := range map[string]string{
		"sys/devices/system/cpu/smt/control": "off", "sys/kernel/mm/ksm/run": "0",
		"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
		"sys/module/kvm/parameters/nx_huge_pages":                         "N", "sys/module/kvm/parameters/min_timer_period_us": "200",
		"sys/module/kvm_intel/parameters/nested": "N",
		vulnerability + "itlb_multihit":          "Not affected", vulnerability + "mds": "Mitigation: Clear CPU buffers; SMT disabled",
		vulnerability + "old_microcode": "Not affected",
		"proc/sys/kernel/core_pattern":  "|/bin/false", "proc/sys/kernel/osrelease": "6.1.100-x", "proc/sys/kernel/printk": "1\t4\t1\t7",
		"proc/sys/kernel/unprivileged_bpf_disabled": "2", "proc/sys/kernel/kptr_restrict": "1", "proc/sys/kernel/dmesg_restrict": "1",
		"proc/sys/kernel/yama/ptrace_scope": "1", "proc/sys/user/max_user_namespaces": "0", "proc/sys/net/ipv4/ip_forward": "1",
	} {
		t[name] = text(content)
	}
	return t
}

const vulnerability = "sys/devices/system/cpu/vulnerabilities/"

func goodHost(t tree) hardening.Host {
	return hardening.Host{
		FS: fstest.MapFS(t), Arch: "amd64", UID: 1000, RuntimeDir: "/run/vms", DataDir: "/srv/vms", ConsoleLimit: 1 << 20,
		Firecracker: hardening.Program{Path: "/srv/vms/bin/firecracker", Version: "v1.16.1"},
		Jailer:      hardening.Program{Path: "/srv/vms/bin/jailer", Version: "v1.16.1"},
		Networks:    []hardening.Network{{Name: "svbr0"}}, Firewall: hardening.Firewall{Seen: true, Drops: []string{"chain ip filter FORWARD (policy drop)"}},
	}
}

func byCheck(findings []hardening.Finding) map[string]hardening.Finding {
	all := map[string]hardening.Finding{}
	for _, f := range findings {
		all[f.Check] = f
	}
	return all
}

func TestNothingIsWrongWithAGoodHost(t *testing.T) {
	t.Parallel()
	findings := hardening.Check(goodHost(goodTree()))
	for _, f := range findings {
		if f.Status != verdict.OK || f.Fix != "" || f.Found == "" || f.Why == "" {
			t.Errorf("%+v", f)
		}
		for _, r := range f.Read {
			if strings.Contains(r.Value, "hidden-value") {
				t.Errorf("%s shows a secret of the command line: %+v", f.Check, r)
			}
		}
	}
	if unmet := hardening.Unmet(findings); len(unmet) > 0 {
		t.Errorf("unmet: %v", unmet)
	}
	if len(byCheck(findings)) != len(findings) {
		t.Error("two checks have one name")
	}
}

// A check that says ok although what it reads is not there can't fail.
func TestCheckWithoutItsFilesIsUnknown(t *testing.T) {
	t.Parallel()
	for _, f := range hardening.Check(goodHost(goodTree())) {
		if f.Check == "jailer" || f.Check == "metadata address" {
			continue // they read nothing: their facts are given
		}
		if len(f.Read) == 0 {
			t.Errorf("%s has read nothing", f.Check)
		}
		without := goodTree()
		for _, r := range f.Read {
			maps.DeleteFunc(without, func(name string, _ *fstest.MapFile) bool {
				gone := strings.TrimPrefix(r.Path, "/")
				return name == gone || strings.HasPrefix(name, gone+"/") || gone == "" && name == "."
			})
		}
		got := byCheck(hardening.Check(goodHost(without)))[f.Check]
		if got.Status != verdict.Unknown || got.Found == "" {
			t.Errorf("%s without %+v: %+v, want unknown", f.Check, f.Read, got)
		}
	}
}

func TestUnreadableFileIsUnknownAndSaysWhoCanReadIt(t *testing.T) {
	t.Parallel()
	h := goodHost(goodTree())
	h.FS = forbidden{h.FS, "proc/swaps"}
	f := byCheck(hardening.Check(h))["swap"]
	if f.Status != verdict.Unknown || f.Fix != "run it as root" || f.Read[0].Problem == "" {
		t.Errorf("%+v", f)
	}
	if unmet := hardening.Unmet([]hardening.Finding{f}); !slices.Equal(unmet, []string{"swap"}) {
		t.Errorf("unmet: %v", unmet)
	}
}

// forbidden is a tree in which one file may not be read.
type forbidden struct {
	fs.FS

	name string
}

func (f forbidden) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f.FS.Open(name)
}

func TestOtherProcessorsHaveNoChecksOfX86(t *testing.T) {
	t.Parallel()
	h := goodHost(goodTree())
	h.Arch = "arm64"
	all := byCheck(hardening.Check(h))
	for _, name := range []string{"microcode", "huge pages", "timer period", "nested kvm", "favordynmods"} {
		if f, found := all[name]; found {
			t.Errorf("%+v", f)
		}
	}
	if _, found := all["smt"]; !found {
		t.Error("smt is not checked")
	}
}

func TestThisHostIsCheckedToTheEnd(t *testing.T) {
	t.Parallel()
	findings := hardening.Check(hardening.Host{})
	for _, f := range findings {
		switch f.Status {
		case verdict.OK, verdict.Weak, verdict.Unknown:
		default:
			t.Errorf("%+v", f)
		}
		if f.Found == "" || f.Status == verdict.Weak && f.Fix == "" {
			t.Errorf("%+v says nothing", f)
		}
	}
	if len(findings) < 20 {
		t.Errorf("%d findings", len(findings))
	}
}

func TestReadingsAreWhatTheFilesSay(t *testing.T) {
	t.Parallel()
	f := byCheck(hardening.Check(goodHost(goodTree())))["huge pages"]
	want := []hardening.Reading{
		{Path: "/" + vulnerability + "itlb_multihit", Value: "Not affected"}, {Path: "/sys/module/kvm/parameters/nx_huge_pages", Value: "N"},
	}
	if diff := cmp.Diff(want, f.Read); diff != "" {
		t.Error(diff)
	}
}
