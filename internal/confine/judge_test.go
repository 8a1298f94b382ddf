package confine_test

import (
	"testing"

	"github.com/smartvm/smartvm/internal/confine"
	"github.com/smartvm/smartvm/internal/verdict"
)

// jailed is a report that nothing is wrong with.
func jailed() *confine.Report {
	n := func(n uint64) *uint64 { return &n }
	var namespaces []confine.Namespace
	for i, kind := range confine.NamespaceKinds {
		namespaces = append(namespaces, confine.Namespace{Kind: kind, ID: uint64(i + 1), Separate: true})
	}
	ids := func(id int) confine.IDs { return confine.IDs{Real: id, Effective: id, Saved: id, FileSystem: id} }
	return &confine.Report{
		PID: 7, Name: "firecracker",
		Credentials: confine.Credentials{
			UIDs: ids(30000), GIDs: ids(30000), Groups: []int{30000}, NoNewPrivs: true,
			Capabilities: confine.Capabilities{Bounding: []string{"CAP_CHOWN"}},
		},
		Threads: []confine.Thread{
			{TID: 7, Name: "firecracker", Seccomp: "filter", Filters: new(2), NoNewPrivs: true},
			{TID: 9, Name: "kvm-nx-lpage-re", Seccomp: "disabled", Filters: new(0), Kernel: true, Differs: true},
		},
		Root: &confine.Root{Path: "/srv/jail/root"}, Namespaces: namespaces,
		Cgroups: []confine.Cgroup{{Version: 2, Path: "/vms/web", Limits: []confine.CgroupLimit{
			{Controller: "memory", Path: "/vms", File: "memory.max", Value: "1"},
			{Controller: "cpu", Path: "/vms/web", File: "cpu.max", Value: "1 1"},
			{Controller: "pids", Path: "/vms/web", File: "pids.max", Value: "9"},
		}}},
		Limits: &confine.ResourceLimits{
			OpenFiles: confine.Bounds{Soft: n(2048), Hard: n(2048)}, FileSize: confine.Bounds{Soft: n(1), Hard: n(1)},
			CoreSize: confine.Bounds{Soft: n(0), Hard: n(0)},
		},
		Environment: new(0), OOMScoreAdj: new(0), Dumpable: new(true),
		Files: &confine.Files{Open: 20, Outside: []confine.OpenFile{{FD: 0, Path: "/run/console.in", Kind: "fifo", Access: "r"}}},
	}
}

func observer() confine.Observer {
	return confine.Observer{UID: 1000, Filters: new(1), CorePattern: "core"}
}

// change spoils one thing and says which verdict that has to change.
type change struct {
	name, item string
	want       verdict.Status
	spoil      func(r *confine.Report, us *confine.Observer)
}

func changes() []change {
	n := func(n uint64) *uint64 { return &n }
	namespace := func(kind string, separate bool) func(*confine.Report, *confine.Observer) {
		return func(r *confine.Report, _ *confine.Observer) {
			for i := range r.Namespaces {
				if r.Namespaces[i].Kind == kind {
					r.Namespaces[i].Separate = separate
				}
			}
		}
	}
	return []change{
		{"root", "user", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.UIDs = confine.IDs{} }},
		{"saved root", "user", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.UIDs.Saved = 0 }},
		{"root's group", "user", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.GIDs.FileSystem = 0 }},
		{"our user", "user", verdict.Weak, func(_ *confine.Report, us *confine.Observer) { us.UID = 30000 }},
		{"a group", "groups", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.Groups = []int{30000, 108} }},
		{"a capability", "capabilities", verdict.Weak, func(r *confine.Report, _ *confine.Observer) {
			r.Capabilities.Permitted = []string{"CAP_NET_ADMIN"}
		}},
		{"an ambient capability", "capabilities", verdict.Weak, func(r *confine.Report, _ *confine.Observer) {
			r.Capabilities.Ambient = []string{"CAP_KILL"}
		}},
		{"a thread of another user", "capabilities", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.Threads[0].Differs = true }},
		{"new privileges", "no_new_privs", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.Threads[0].NoNewPrivs = false }},
		{"no filter", "seccomp", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.Threads[0].Seccomp = "disabled" }},
		{"only the filter of a container", "seccomp", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.Threads[0].Filters = new(1) }},
		{"uncounted filters", "seccomp", verdict.Unknown, func(r *confine.Report, _ *confine.Observer) { r.Threads[0].Filters = nil }},
		{"our root", "root directory", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.Root.Own = true }},
		{"hidden root", "root directory", verdict.Unknown, func(r *confine.Report, _ *confine.Observer) { r.Root = nil }},
		{"our mounts", "mount namespace", verdict.Weak, namespace("mnt", false)},
		{"our network", "network namespace", verdict.Weak, namespace("net", false)},
		{"hidden namespaces", "mount namespace", verdict.Unknown, func(r *confine.Report, _ *confine.Observer) { r.Namespaces = nil }},
		{"our pids without a proc", "pid namespace", verdict.OK, namespace("pid", false)},
		{"our pids and a proc", "pid namespace", verdict.Weak, func(r *confine.Report, us *confine.Observer) {
			namespace("pid", false)(r, us)
			r.Root.Proc = true
		}},
		{"our pids and CAP_KILL", "pid namespace", verdict.Weak, func(r *confine.Report, us *confine.Observer) {
			namespace("pid", false)(r, us)
			r.Capabilities.Effective = []string{"CAP_KILL"}
		}},
		{"no limit of memory", "cgroup limits", verdict.Weak, func(r *confine.Report, _ *confine.Observer) {
			r.Cgroups[0].Limits = r.Cgroups[0].Limits[1:]
		}},
		{"hidden limits", "cgroup limits", verdict.Unknown, func(r *confine.Report, _ *confine.Observer) { r.Cgroups[0].Limits = nil }},
		{"no cgroups", "cgroup limits", verdict.Unknown, func(r *confine.Report, _ *confine.Observer) { r.Cgroups = nil }},
		{"many files", "resource limits", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.Limits.OpenFiles.Hard = n(1 << 20) }},
		{"any number of files", "resource limits", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.Limits.OpenFiles.Hard = nil }},
		{"large files", "resource limits", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.Limits.FileSize.Hard = nil }},
		{"hidden resource limits", "resource limits", verdict.Unknown, func(r *confine.Report, _ *confine.Observer) { r.Limits = nil }},
		{"a core file", "core dumps", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.Limits.CoreSize.Soft = nil }},
		{"a program for core files", "core dumps", verdict.Weak, func(_ *confine.Report, us *confine.Observer) { us.CorePattern = "|/lib/collect %P" }},
		{"thrown away core files", "core dumps", verdict.OK, func(r *confine.Report, us *confine.Observer) {
			us.CorePattern, r.Limits.CoreSize.Soft = "|/bin/false", nil
		}},
		{"not dumpable", "core dumps", verdict.OK, func(r *confine.Report, us *confine.Observer) {
			us.CorePattern, r.Dumpable = "|/lib/collect", new(false)
		}},
		{"hidden core limit", "core dumps", verdict.Unknown, func(r *confine.Report, _ *confine.Observer) { r.Limits = nil }},
		{"variables", "environment", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.Environment = new(3) }},
		{"hidden variables", "environment", verdict.Unknown, func(r *confine.Report, _ *confine.Observer) { r.Environment = nil }},
		{"a file of the host", "open files", verdict.Weak, func(r *confine.Report, _ *confine.Observer) {
			r.Files.Outside = append(r.Files.Outside, confine.OpenFile{FD: 9, Path: "/etc/shadow", Kind: "file", Access: "r"})
		}},
		{"a directory of the host as input", "open files", verdict.Weak, func(r *confine.Report, _ *confine.Observer) {
			r.Files.Outside[0].Kind = "directory"
		}},
		{"hidden files", "open files", verdict.Unknown, func(r *confine.Report, _ *confine.Observer) { r.Files = nil }},
		{"spared", "oom score", verdict.Weak, func(r *confine.Report, _ *confine.Observer) { r.OOMScoreAdj = new(-500) }},
		{"hidden score", "oom score", verdict.Unknown, func(r *confine.Report, _ *confine.Observer) { r.OOMScoreAdj = nil }},
	}
}

func byItem(verdicts []confine.Verdict) map[string]confine.Verdict {
	items := map[string]confine.Verdict{}
	for _, v := range verdicts {
		items[v.Item] = v
	}
	return items
}

func TestNothingIsWrongWithAFullJail(t *testing.T) {
	t.Parallel()
	for _, v := range confine.Judge(jailed(), observer()) {
		if v.Status != verdict.OK || v.Found == "" || v.Fix != "" {
			t.Errorf("%+v", v)
		}
	}
}

func TestEachItemCanFail(t *testing.T) {
	t.Parallel()
	failed := map[string]bool{}
	for _, c := range changes() {
		r, us := jailed(), observer()
		c.spoil(r, &us)
		v := byItem(confine.Judge(r, us))[c.item]
		if v.Status != c.want || v.Found == "" || (v.Fix == "") != (c.want == verdict.OK) {
			t.Errorf("%s: %+v, want %s", c.name, v, c.want)
		}
		failed[c.item] = failed[c.item] || c.want == verdict.Weak
	}
	for _, v := range confine.Judge(jailed(), observer()) {
		if !failed[v.Item] {
			t.Errorf("no change makes %s weak", v.Item)
		}
	}
}

func TestWhatCanNotBeReadIsNeverOK(t *testing.T) {
	t.Parallel()
	r := jailed()
	r.Root, r.Namespaces, r.Cgroups, r.Limits, r.Environment, r.Files, r.OOMScoreAdj, r.Dumpable = nil, nil, nil, nil, nil, nil, nil, nil
	read := map[string]bool{"user": true, "groups": true, "capabilities": true, "no_new_privs": true, "seccomp": true} // of a file that all may read
	for _, v := range confine.Judge(r, observer()) {
		if !read[v.Item] && v.Status != verdict.Unknown {
			t.Errorf("%+v, want unknown", v)
		}
	}
}
