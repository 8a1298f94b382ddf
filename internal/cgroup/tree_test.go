package cgroup_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/cgroup"
)

const (
	//nolint:dupword // as the kernel writes it
	hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/uni\040fied rw,relatime - cgroup2 cgroup2 rw
`
	//nolint:dupword // as the kernel writes it
	unified = `30 23 0:28 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate
`
)

func TestMountsAreReadFromMountinfo(t *testing.T) {
	t.Parallel()
	want := []string{
		"tmpfs /sys/fs/cgroup", "cgroup /sys/fs/cgroup/cpu,cpuacct", "cgroup /sys/fs/cgroup/memory", "cgroup /sys/fs/cgroup/blkio",
		"cgroup /sys/fs/cgroup/systemd", "cgroup2 /sys/fs/cgroup/uni fied",
	}
	if diff := cmp.Diff(want, cgroup.Points(hybrid+"\nno line - of it\nx 1 0:1 / /a rw - tmpfs t rw\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMissingControllersAreNamedWithWhatToDo(t *testing.T) {
	t.Parallel()
	all := cgroup.Limits{CPU: 1, Memory: 1, PIDs: 1, IO: []cgroup.DiskLimit{{}}}
	for _, tt := range []struct {
		name   string
		tree   *cgroup.Tree
		limits cgroup.Limits
		want   []string // fields, then a word of the advice; nil if all is there
	}{
		{"all there", cgroup.TreeOf(unified, false, "cpuset", "cpu", "io", "memory", "pids"), all, nil},
		{"nothing wanted", cgroup.TreeOf(hybrid, false), cgroup.Limits{}, nil},
		{"version 1 has them", cgroup.TreeOf(hybrid, false, "hugetlb", "pids"), all, []string{"cpu", "io", "memory", "systemd.unified_cgroup_hierarchy=1"}},
		{"not delegated", cgroup.TreeOf(unified, true, "memory", "pids"), all, []string{"cpu", "io", "Delegate=yes"}},
		{"not in the kernel", cgroup.TreeOf(unified, false, "cpu", "io", "pids"), all, []string{"memory", "cgroup_disable="}},
		{"a weight needs cpu", cgroup.TreeOf(unified, false), cgroup.Limits{CPUWeight: 1}, []string{"cpu", "cgroup_disable="}},
		{"disks need to know whose pages are written", cgroup.TreeOf(unified, false, "io"), cgroup.Limits{IO: []cgroup.DiskLimit{{}}}, []string{"memory", "cgroup_disable="}},
	} {
		err := tt.tree.Check(tt.limits)
		if tt.want == nil {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != errcode.CgroupUnavailable {
			t.Errorf("%s: got %v, want CGROUP_UNAVAILABLE", tt.name, err)
			continue
		}
		fields, advice := tt.want[:len(tt.want)-1], tt.want[len(tt.want)-1]
		var got []string
		for _, d := range e.Details {
			got = append(got, d.Field)
		}
		if diff := cmp.Diff(fields, got); diff != "" || !strings.Contains(e.Hint, advice) {
			t.Errorf("%s: hint %q, details (-want +got):\n%s", tt.name, e.Hint, diff)
		}
	}
}

func TestOptionsThatLeadElsewhereAreRefused(t *testing.T) {
	t.Parallel()
	var bad []cgroup.Options
	for _, name := range []string{"", "a/b", "..", ".hidden", "a\nb", strings.Repeat("a", 201)} {
		bad = append(bad, cgroup.Options{Name: name})
	}
	for _, parent := range []string{"/", "/a", ".", "..", "a/../b", "a//b", "a/", "./a", "a\nb"} {
		bad = append(bad, cgroup.Options{Name: "a", Parent: parent})
	}
	for _, o := range bad {
		if _, err := cgroup.New(o); !errors.Is(err, errcode.InvalidConfig) {
			t.Errorf("%+v: got %v, want INVALID_CONFIG", o, err)
		}
	}
}

func TestPartitionIsLimitedByItsDisk(t *testing.T) {
	t.Parallel()
	sys := t.TempDir()
	for path, text := range map[string]string{
		"devices/pci/sda/dev": "8:0\n", "devices/pci/sda/sda1/dev": "8:1\n", "devices/pci/sda/sda1/partition": "1\n", "devices/virtual/dm-0/dev": "253:0\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(sys, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sys, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	block := filepath.Join(sys, "dev/block")
	if err := os.MkdirAll(block, 0o700); err != nil {
		t.Fatal(err)
	}
	for number, target := range map[string]string{"8:0": "pci/sda", "8:1": "pci/sda/sda1", "253:0": "virtual/dm-0"} {
		if err := os.Symlink("../../devices/"+target, filepath.Join(block, number)); err != nil {
			t.Fatal(err)
		}
	}
	for of, want := range map[cgroup.Disk]cgroup.Disk{
		{Major: 8, Minor: 1}: {Major: 8}, {Major: 8}: {Major: 8}, {Major: 253}: {Major: 253},
	} {
		if got, err := cgroup.WholeDisk(block, of); err != nil || got != want {
			t.Errorf("%v: got %v, %v, want %v", of, got, err, want)
		}
	}
}

func TestFileInMemoryHasNoDiskToLimit(t *testing.T) {
	t.Parallel()
	_, err := cgroup.LimitFiles([]string{"/proc/self/stat"}, cgroup.Rates{ReadOps: 1})
	if !errors.Is(err, errcode.InvalidConfig) {
		t.Errorf("got %v, want INVALID_CONFIG", err)
	}
	if _, err := cgroup.LimitFiles([]string{filepath.Join(t.TempDir(), "missing")}, cgroup.Rates{ReadOps: 1}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that there is no such file", err)
	}
	if limits, err := cgroup.LimitFiles(nil, cgroup.Rates{}); err != nil || limits != nil {
		t.Errorf("no files: got %v, %v", limits, err)
	}
}
