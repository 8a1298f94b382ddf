package firecracker_test

import (
	"cmp"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

func version(tb testing.TB, text string) firecracker.Version {
	tb.Helper()
	v, err := firecracker.ParseVersion(text)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// lacking returns the fields that Check finds missing, "(call)" for the call itself.
func lacking(t *testing.T, r firecracker.Request, v string) []string {
	t.Helper()
	err := r.Check(version(t, v))
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != errcode.UnsupportedVersion || !strings.Contains(e.Error(), version(t, v).String()) {
		t.Fatalf("got %v", err)
	}
	var out []string
	for _, d := range e.Details {
		if !strings.Contains(d.Message, "needs v") {
			t.Errorf("%q does not say what is needed", d.Message)
		}
		out = append(out, cmp.Or(d.Field, "(call)"))
	}
	return out
}

func TestCheckFindsAllThatAnOlderFirecrackerLacks(t *testing.T) {
	limit := &firecracker.RateLimiter{Bandwidth: &firecracker.TokenBucket{Size: 1, RefillTime: 1}}
	load := firecracker.LoadSnapshot(firecracker.SnapshotLoadParams{
		SnapshotPath: "s", MemBackend: &firecracker.MemoryBackend{BackendType: "File", BackendPath: "m"},
		TrackDirtyPages: true, NetworkOverrides: []firecracker.NetworkOverride{{IfaceID: "a", HostDevName: "b"}},
		ClockRealtime: true, VsockOverride: &firecracker.VsockOverride{UDSPath: "v"}, HugePages: "None",
	})
	machine := func(huge, template string) firecracker.Request {
		return firecracker.PutMachineConfig(firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 1, HugePages: huge, CPUTemplate: template})
	}
	update := firecracker.PatchMachineConfig(firecracker.MachineConfigUpdate{VCPUCount: new(2)})
	drive := firecracker.Drive{DriveID: "d", PathOnHost: "p", RateLimiter: limit}
	tests := []struct {
		name string
		r    firecracker.Request
		v    string
		want []string
	}{
		{"all of a load", load, "1.0", []string{"mem_backend", "track_dirty_pages", "network_overrides", "clock_realtime", "vsock_override", "huge_pages"}},
		{"1.12", load, "1.12.1", []string{"track_dirty_pages", "clock_realtime", "vsock_override", "huge_pages"}},
		{"before the patch release", load, "1.14.3", []string{"clock_realtime", "vsock_override", "huge_pages"}},
		{"from the patch release", load, "1.14.4", []string{"vsock_override", "huge_pages"}},
		{"newer minor before its patch release", load, "1.15.0", []string{"clock_realtime", "vsock_override", "huge_pages"}},
		{"newer minor from its patch release", load, "1.15.1", []string{"vsock_override", "huge_pages"}},
		{"minor newer than all listed", load, "1.16.0", []string{"huge_pages"}},
		{"newest", load, "1.17.0", nil},
		{"next major", load, "2.0.0", nil},
		{"huge pages", machine("2M", ""), "1.6.0", []string{"huge_pages"}},
		{"huge pages have come", machine("2M", ""), "1.7.0", nil},
		{"a value", machine("Transparent", ""), "1.16.1", []string{"huge_pages"}},
		{"a value has come", machine("Transparent", ""), "1.17.0-dev", nil},
		{"a template", machine("", "V1N1"), "1.3.3", []string{"cpu_template"}},
		{"a level", firecracker.PutLogger(firecracker.Logger{LogPath: "l", Level: "trace"}), "1.4.1", []string{"level"}},
		{"a level has come", firecracker.PutLogger(firecracker.Logger{LogPath: "l", Level: "Off"}), "1.5.0", nil},
		{"left out too early", update, "1.10.1", []string{"mem_size_mib", "track_dirty_pages"}},
		{"left out", update, "1.11.0", nil},
		{"a call", firecracker.PutCPUConfig(firecracker.CPUConfig{}), "1.3.0", []string{"(call)"}},
		{"a call has come", firecracker.PutCPUConfig(firecracker.CPUConfig{}), "1.4.0", nil},
		{"a call, not its fields", firecracker.PutPmem(firecracker.Pmem{ID: "p", RateLimiter: limit}), "1.12.1", []string{"(call)"}},
		{"a field of a newer call", firecracker.PutPmem(firecracker.Pmem{ID: "p", RateLimiter: limit}), "1.14.0", []string{"rate_limiter"}},
		{"a device before the boot", firecracker.PutDrive(drive), "1.15.1", nil},
		{"a device after the boot", firecracker.HotplugDrive(drive), "1.15.1", []string{"(call)"}},
		{"hot-plug has come", firecracker.HotplugDrive(drive), "1.16.0", nil},
		{"removal", firecracker.DeleteNetworkInterface("eth0"), "1.15.1", []string{"(call)"}},
		{"deprecated and working", firecracker.LoadSnapshot(firecracker.SnapshotLoadParams{EnableDiffSnapshots: true}), "1.17.0", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := gocmp.Diff(tt.want, lacking(t, tt.r, tt.v)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnknownVersionAndUnknownCallPass(t *testing.T) {
	if err := firecracker.DeleteDrive("d").Check(firecracker.Version{}); err != nil {
		t.Error(err)
	}
	r := firecracker.Request{Method: "PUT", Path: "/from-the-future", Body: map[string]int{"a": 1}}
	if err := r.Check(version(t, "1.0")); err != nil {
		t.Error(err)
	}
}

// The list comes from Firecracker's own description of its API.
func TestEveryEndpointIsKnown(t *testing.T) {
	text, err := os.ReadFile("testdata/endpoints.txt")
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`\{\w+\}`)
	n := 0
	for line := range strings.Lines(string(text)) {
		method, path, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || method == "#" {
			continue
		}
		n++
		r := firecracker.Request{Method: method, Path: id.ReplaceAllString(path, "x")}
		if !r.Known() {
			t.Errorf("%s is not in the table", r)
		}
	}
	if n != firecracker.EndpointCount {
		t.Errorf("the list has %d calls, the table %d", n, firecracker.EndpointCount)
	}
}

func TestPhasesAllowTheirStates(t *testing.T) {
	states := []firecracker.InstanceState{firecracker.NotStarted, firecracker.Running, firecracker.Paused}
	tests := []struct {
		r    firecracker.Request
		want [3]bool
	}{
		{firecracker.StartInstance(), [3]bool{true, false, false}},
		{firecracker.FlushMetrics(), [3]bool{false, true, true}},
		{firecracker.PutDrive(firecracker.Drive{DriveID: "d"}), [3]bool{true, false, false}},
		{firecracker.HotplugDrive(firecracker.Drive{DriveID: "d"}), [3]bool{false, true, true}},
		{firecracker.CreateSnapshot(firecracker.SnapshotCreateParams{}), [3]bool{false, false, true}},
		{firecracker.PutMMDS(nil), [3]bool{true, true, true}},
	}
	for _, tt := range tests {
		for i, s := range states {
			if got := tt.r.Phase().Allows(s); got != tt.want[i] {
				t.Errorf("%s in state %s: %t", tt.r, s, got)
			}
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	limit := &firecracker.RateLimiter{Bandwidth: &firecracker.TokenBucket{Size: 1, RefillTime: 1}}
	r := firecracker.PutDrive(firecracker.Drive{DriveID: "d", PathOnHost: "p", RateLimiter: limit})
	v := version(b, "1.12.1")
	for b.Loop() {
		if err := r.Check(v); err != nil {
			b.Fatal(err)
		}
	}
}
