package confine

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/mountinfo"
)

func fixture(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func TestStatusOfAJailedThreadIsRead(t *testing.T) {
	t.Parallel()
	got, err := parseStatus(fixture(t, "status-jailed"))
	if err != nil {
		t.Fatal(err)
	}
	none := []string{}
	want := status{
		Credentials: Credentials{
			UIDs: IDs{30000, 30000, 30000, 30000}, GIDs: IDs{30001, 30001, 30001, 30001}, Groups: []int{},
			Capabilities: Capabilities{
				Permitted: none, Effective: none, Inheritable: none, Ambient: none, Bounding: []string{"CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"},
			},
			NoNewPrivs: true,
		},
		name: "fc_vcpu 0", seccomp: "filter", filters: new(1),
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(status{})); diff != "" {
		t.Error(diff)
	}
}

func TestStatusOfARootThreadIsRead(t *testing.T) {
	t.Parallel()
	got, err := parseStatus(fixture(t, "status-root"))
	if err != nil {
		t.Fatal(err)
	}
	if !got.UIDs.Has(0) || got.UIDs.Effective != 4 || len(got.Groups) != 3 || got.Groups[2] != 27 || got.NoNewPrivs || got.seccomp != "disabled" {
		t.Errorf("got %+v", got)
	}
	if got.filters != nil {
		t.Errorf("%d filters, where the kernel tells of none", *got.filters)
	}
	usable := got.Capabilities.Usable()
	if len(usable) != 42 || usable[12] != "CAP_NET_ADMIN" || usable[41] != "CAP_41" {
		t.Errorf("usable: %v", usable)
	}
}

func TestStatusOfAnotherFormIsAnError(t *testing.T) {
	t.Parallel()
	whole := string(fixture(t, "status-jailed"))
	for _, change := range [][2]string{
		{"Uid:\t30000\t", "Uid:\t"},
		{"Gid:\t30001", "Gid:\tx"},
		{"NoNewPrivs:\t1\n", ""},
		{"Seccomp:\t2", "Seccomp:\t7"},
		{"Seccomp_filters:\t1", "Seccomp_filters:\t"},
		{"CapEff:\t", "CapEff:\tg"},
		{"Groups:\t", "Groups:\tx"},
	} {
		text := strings.Replace(whole, change[0], change[1], 1)
		if text == whole {
			t.Fatalf("%q is not there", change[0])
		}
		if s, err := parseStatus([]byte(text)); err == nil {
			t.Errorf("%q: read as %+v", change[1], s)
		}
	}
}

func TestNameOfAThreadCanNotPoseAsAnotherField(t *testing.T) {
	t.Parallel()
	// The kernel escapes line ends in names; what follows a field is no second one.
	text := strings.Replace(string(fixture(t, "status-root")), "Name:\tsh\n", "Name:\tx\\nSeccomp:\\t2\n", 1) + "Seccomp:\t2\n"
	if s, err := parseStatus([]byte(text)); err != nil || s.seccomp != "disabled" || !strings.Contains(s.name, "Seccomp") {
		t.Errorf("read as %+v, %v", s, err)
	}
}

func TestLimitsAreRead(t *testing.T) {
	t.Parallel()
	got, err := parseLimits(fixture(t, "limits"))
	if err != nil {
		t.Fatal(err)
	}
	n := func(n uint64) *uint64 { return &n }
	want := ResourceLimits{OpenFiles: Bounds{n(1024), n(4096)}, FileSize: Bounds{n(1 << 30), n(1 << 30)}, CoreSize: Bounds{n(0), nil}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for want, b := range map[string]Bounds{"1024, at most 4096": got.OpenFiles, "1073741824": got.FileSize, "0, at most unlimited": got.CoreSize, "unlimited": {}} {
		if b.String() != want {
			t.Errorf("%q, want %q", b, want)
		}
	}
	for _, text := range []string{"", "Max open files \n", "Max open files x y files\n", "Max open files 1 x files\n"} {
		if l, err := parseLimits([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, l)
		}
	}
}

func TestVariablesAreCounted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "A=b\x00": 1, "A=b\x00C=\x00": 2, "A=b\x00\x00\x00": 1, "\x00": 0, "A=b": 1} {
		if got := countVariables([]byte(text)); got != want {
			t.Errorf("%q has %d, want %d", text, got, want)
		}
	}
}

func TestWorkersOfTheKernelAreToldFromThreads(t *testing.T) {
	t.Parallel()
	for flags, want := range map[string]bool{"4194304": false, "4194624": false, "4210752": true, "16": true, "1077936448": false} {
		text := "7 (a) b) S 1 1 1 0 -1 " + flags + strings.Repeat(" 0", 43)
		if got, err := isKernelWorker([]byte(text)); err != nil || got != want {
			t.Errorf("flags %s: %t, %v, want %t", flags, got, err, want)
		}
	}
	if _, err := isKernelWorker([]byte("7 (a)")); err == nil {
		t.Error("a short file was read")
	}
}

func TestCgroupsThatCanLimitAreRead(t *testing.T) {
	t.Parallel()
	got, err := parseCgroups([]byte("9:name=systemd:/\n8:pids:/p\n4:cpu,cpuacct:/a:b\n3:cpuset:/\n0::/vms/web\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Cgroup{
		{Version: 1, Controllers: []string{"pids"}, Path: "/p"},
		{Version: 1, Controllers: []string{"cpu", "cpuacct"}, Path: "/a:b"},
		{Version: 2, Path: "/vms/web"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"x\n", "0:\n", "0::relative\n", "\n"} {
		if g, err := parseCgroups([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, g)
		}
	}
}

const cgroupMounts = `31 23 0:28 / /sys/fs/cgroup rw - cgroup2 none rw
32 31 0:29 /box /old/memory rw - cgroup none rw,memory
33 31 0:30 / /old/cpu rw - cgroup none rw,cpu,cpuacct
`

func TestLimitsOfCgroupsAreThoseAboveToo(t *testing.T) {
	t.Parallel()
	mounts, err := mountinfo.Parse(strings.NewReader(cgroupMounts))
	if err != nil {
		t.Fatal(err)
	}
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tree := fstest.MapFS{
		"sys/fs/cgroup/cgroup.controllers":   file("cpu memory io pids\n"),
		"sys/fs/cgroup/vms/memory.max":       file("1073741824\n"),
		"sys/fs/cgroup/vms/pids.max":         file("max\n"),
		"sys/fs/cgroup/vms/web/memory.max":   file("max\n"),
		"sys/fs/cgroup/vms/web/cpu.max":      file("50000 100000\n"),
		"sys/fs/cgroup/vms/web/pids.max":     file("64\n"),
		"sys/fs/cgroup/vms/web/io.max":       file(""),
		"sys/fs/cgroup/vms/free/cpu.max":     file("max 100000\n"),
		"old/memory/memory.limit_in_bytes":   file("9223372036854771712\n"),
		"old/memory/a/memory.limit_in_bytes": file("4096\n"),
		"old/cpu/cpu.cfs_quota_us":           file("-1\n"),
	}
	for name, tt := range map[string]struct {
		group Cgroup
		want  []CgroupLimit
	}{
		"its own and those above": {Cgroup{Version: 2, Path: "/vms/web"}, []CgroupLimit{
			{"cpu", "/vms/web", "cpu.max", "50000 100000"},
			{"pids", "/vms/web", "pids.max", "64"},
			{"memory", "/vms", "memory.max", "1073741824"},
		}},
		"only those above":     {Cgroup{Version: 2, Path: "/vms/free"}, []CgroupLimit{{"memory", "/vms", "memory.max", "1073741824"}}},
		"the root":             {Cgroup{Version: 2, Path: "/"}, []CgroupLimit{}},
		"old":                  {Cgroup{Version: 1, Controllers: []string{"memory"}, Path: "/box/a"}, []CgroupLimit{{"memory", "/box/a", "memory.limit_in_bytes", "4096"}}},
		"old without a limit":  {Cgroup{Version: 1, Controllers: []string{"cpuacct"}, Path: "/"}, []CgroupLimit{}},
		"gone":                 {Cgroup{Version: 2, Path: "/gone"}, nil},
		"above our namespace":  {Cgroup{Version: 2, Path: "/../other"}, nil},
		"not below the mount":  {Cgroup{Version: 1, Controllers: []string{"memory"}, Path: "/other"}, nil},
		"mounted nowhere here": {Cgroup{Version: 1, Controllers: []string{"pids"}, Path: "/"}, nil},
	} {
		tt.group.readLimits(tree, mounts)
		if diff := cmp.Diff(tt.want, tt.group.Limits); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestFilesOutsideAreThoseWithAPlaceThatTheRootDoesNotReach(t *testing.T) {
	t.Parallel()
	jailed := view{mounts: map[uint64]bool{7: true, 8: true}, link: "/", mount: 7}
	changed := view{mounts: map[uint64]bool{8: true}, link: "/jail", mount: 7} // by chroot, in our mount namespace
	for name, tt := range map[string]struct {
		view  view
		path  string
		mount uint64
		want  bool
	}{
		"inside":                      {jailed, "/kernel", 7, false},
		"on a mount inside":           {jailed, "/drive", 8, false},
		"of the host":                 {jailed, "/kernel", 3, true},
		"deleted, of the host":        {jailed, "/x (deleted)", 3, true},
		"memory":                      {jailed, "/memfd:x (deleted)", 3, false},
		"a pipe":                      {jailed, "pipe:[7]", 3, false},
		"kvm":                         {jailed, "anon_inode:kvm-vm", 3, false},
		"below a changed root":        {changed, "/jail/kernel", 7, false},
		"a changed root":              {changed, "/jail", 7, false},
		"beside a changed root":       {changed, "/jailor", 7, true},
		"a mount in a changed root":   {changed, "/jail/dev/null", 8, false},
		"a mount elsewhere":           {changed, "/dev/null", 9, true},
		"anything, with our own root": {view{own: true}, "/etc/passwd", 3, false},
	} {
		if got := tt.view.outside(tt.path, tt.mount); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add(fixture(f, "status-jailed"))
	f.Add(fixture(f, "status-root"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStatus(text)
		if err == nil && (s.seccomp == "" || !s.sameAs(&s.Credentials)) {
			t.Errorf("%q is %+v", text, s)
		}
		if err != nil && errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q: %v would mean that the process is gone", text, err)
		}
	})
}

func FuzzParseLimits(f *testing.F) {
	f.Add(fixture(f, "limits"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if l, err := parseLimits(text); err == nil && l.OpenFiles.String() == "" {
			t.Errorf("%q is %+v", text, l)
		}
	})
}

func FuzzParseCgroups(f *testing.F) {
	f.Add([]byte("9:name=systemd:/\n8:pids:/p\n0::/vms/web\n"))
	f.Add([]byte("4:cpu,cpuacct:/a:b\n"))
	mounts, err := mountinfo.Parse(strings.NewReader(cgroupMounts))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		groups, err := parseCgroups(text)
		if err != nil {
			return
		}
		for _, g := range groups {
			g.readLimits(fstest.MapFS{}, mounts)
			if g.Limits != nil {
				t.Errorf("%q has limits in an empty tree: %v", text, g.Limits)
			}
		}
	})
}
