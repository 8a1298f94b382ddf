package cgroup_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/cgroup"
)

func TestLimitsSayWhatTheKernelIsToEnforce(t *testing.T) {
	t.Parallel()
	sda, sdb := cgroup.Disk{Major: 8}, cgroup.Disk{Major: 8, Minor: 16}
	for _, tt := range []struct {
		name   string
		limits cgroup.Limits
		want   []string
	}{
		{"none", cgroup.Limits{}, nil},
		{"one and a half core", cgroup.Limits{CPU: 1.5}, []string{"cpu.max 150000 100000"}},
		{"a third", cgroup.Limits{CPU: 1.0 / 3}, []string{"cpu.max 33333 100000"}},
		{"the least", cgroup.Limits{CPU: cgroup.MinCPU}, []string{"cpu.max 1000 100000"}},
		{"less than that", cgroup.Limits{CPU: 1e-9}, []string{"cpu.max 1000 100000"}},
		{"many", cgroup.Limits{CPU: 8192}, []string{"cpu.max 819200000 100000"}},
		{"a weight", cgroup.Limits{CPUWeight: 50}, []string{"cpu.weight 50"}},
		{"memory", cgroup.Limits{Memory: 1 << 30}, []string{"memory.max 1073741824", "memory.swap.max 0", "memory.oom.group 1"}},
		{"memory to be careful with", cgroup.Limits{MemoryHigh: 1 << 20}, []string{"memory.high 1048576"}},
		{"tasks", cgroup.Limits{PIDs: 32}, []string{"pids.max 32"}},
		{"disks", cgroup.Limits{IO: []cgroup.DiskLimit{
			{Disk: sda, Rates: cgroup.Rates{ReadBytes: 10, WriteBytes: 20}},
			{Disk: sdb, Rates: cgroup.Rates{WriteOps: 5}},
			{Disk: sda, Rates: cgroup.Rates{ReadBytes: 11, WriteBytes: 19, ReadOps: 7}},
		}}, []string{"io.max 8:0 rbps=10 wbps=19 riops=7", "io.max 8:16 wiops=5"}},
	} {
		if diff := cmp.Diff(tt.want, cgroup.Wanted(tt.limits)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestStrictestLeavesWhatItIsGivenAlone(t *testing.T) {
	t.Parallel()
	given := []cgroup.DiskLimit{{Rates: cgroup.Rates{ReadOps: 2}}, {Rates: cgroup.Rates{ReadOps: 1}}}
	got := cgroup.Strictest(given)
	if len(got) != 1 || got[0].ReadOps != 1 || given[0].ReadOps != 2 {
		t.Errorf("got %v of %v", got, given)
	}
}

func TestLineOfIOMaxIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	want := cgroup.DiskLimit{Disk: cgroup.Disk{Major: 259, Minor: 3}, Rates: cgroup.Rates{ReadBytes: 1, WriteBytes: 1 << 63, ReadOps: 3, WriteOps: 4}}
	for _, line := range []string{want.String(), "259:3 rbps=1 wbps=9223372036854775808 riops=3 wiops=4 later=max\n"} {
		if got, err := cgroup.ParseDiskLimit(line); err != nil || got != want {
			t.Errorf("%q: got %v, %v", line, got, err)
		}
	}
	if got, err := cgroup.ParseDiskLimit("8:0 rbps=max wbps=max riops=5 wiops=max"); err != nil || got.Rates != (cgroup.Rates{ReadOps: 5}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, line := range []string{"", "8", "8:x", ":", "8:0 rbps=", "8:0 rbps=-1"} {
		if got, err := cgroup.ParseDiskLimit(line); err == nil {
			t.Errorf("%q is taken for %v", line, got)
		}
	}
}

func TestCoresAreReadFromQuotaAndPeriod(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{"150000 100000": 1.5, "1000 100000": 0.01, "max 100000": 0, "": 0, "50000 25000": 2} {
		if got, err := cgroup.ParseCores(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"1000", "1000 0", "x 100000", "1 2 3", "-1 100000"} {
		if got, err := cgroup.ParseCores(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func FuzzKernelText(f *testing.F) {
	for _, text := range []string{
		"", "populated 1\nfrozen 0", "max 100000", "150000 100000", "8:0 rbps=1 wbps=max", "low 0\nhigh 0\n\nmax 3", hybrid, unified,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if values, err := cgroup.ParseFlat(text); err == nil && len(values) > strings.Count(text, "\n")+1 {
			t.Errorf("%d values in %q", len(values), text)
		}
		if cores, err := cgroup.ParseCores(text); err == nil && !(cores >= 0) {
			t.Errorf("%v cores in %q", cores, text)
		}
		if d, err := cgroup.ParseDiskLimit(text); err == nil {
			if again, err := cgroup.ParseDiskLimit(d.String()); err != nil || again != d {
				t.Errorf("%v is read as %v, %v", d, again, err)
			}
		}
		if points := cgroup.Points(text); len(points) > strings.Count(text, "\n")+1 {
			t.Errorf("%q has mounts %q", text, points)
		}
	})
}
