package firecracker_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/firecracker"
)

// Each call with nothing set shows what Firecracker always gets; with all set,
// how each field is spelled.
func goldenRequests() []firecracker.Request {
	bucket := &firecracker.TokenBucket{Size: 1, RefillTime: 2, OneTimeBurst: 3}
	limit := &firecracker.RateLimiter{Bandwidth: bucket, Ops: bucket}
	return []firecracker.Request{
		firecracker.PutMachineConfig(firecracker.MachineConfig{}),
		firecracker.PutMachineConfig(firecracker.MachineConfig{
			VCPUCount: 2, MemSizeMiB: 256, SMT: true, CPUTemplate: "T2", TrackDirtyPages: true, HugePages: "2M", GDBSocketPath: "/gdb",
		}),
		firecracker.PatchMachineConfig(firecracker.MachineConfigUpdate{}),
		firecracker.PatchMachineConfig(firecracker.MachineConfigUpdate{
			VCPUCount: new(2), MemSizeMiB: new(256), SMT: new(false), CPUTemplate: new("None"), TrackDirtyPages: new(false), HugePages: new("None"),
			GDBSocketPath: new("/gdb"),
		}),
		firecracker.PutBootSource(firecracker.BootSource{}),
		firecracker.PutBootSource(firecracker.BootSource{KernelImagePath: "/k", InitrdPath: "/i", BootArgs: "a=<b>"}),
		firecracker.PutCPUConfig(firecracker.CPUConfig{}),
		firecracker.PutCPUConfig(firecracker.CPUConfig{
			KVMCapabilities: []string{"!121"},
			CPUIDModifiers: []firecracker.CPUIDModifier{{
				Leaf: "0x1", Subleaf: "0x0", Flags: 1, Modifiers: []firecracker.CPUIDRegisterModifier{{Register: "eax", Bitmap: "0b1"}},
			}},
			MSRModifiers: []firecracker.MSRModifier{{Addr: "0x1", Bitmap: "0b1"}},
			RegModifiers: []firecracker.RegisterModifier{{Addr: "0x1", Bitmap: "0b1"}},
			VCPUFeatures: []firecracker.VCPUFeature{{Index: 1, Bitmap: "0b1"}},
		}),
		firecracker.PutDrive(firecracker.Drive{DriveID: "d"}),
		firecracker.PutDrive(firecracker.Drive{
			DriveID: "d", PathOnHost: "/p", IsRootDevice: true, IsReadOnly: true, PartUUID: "u", CacheType: "Writeback", IOEngine: "Async",
			Socket: "/s", RateLimiter: limit,
		}),
		firecracker.HotplugDrive(firecracker.Drive{DriveID: "d", PathOnHost: "/p"}),
		firecracker.PatchDrive(firecracker.DriveUpdate{DriveID: "d"}),
		firecracker.PatchDrive(firecracker.DriveUpdate{DriveID: "d", PathOnHost: "/p", RateLimiter: &firecracker.RateLimiter{Ops: &firecracker.TokenBucket{}}}),
		firecracker.DeleteDrive("d"),
		firecracker.PutPmem(firecracker.Pmem{ID: "p"}),
		firecracker.PutPmem(firecracker.Pmem{ID: "p", PathOnHost: "/p", RootDevice: true, ReadOnly: true, RateLimiter: limit}),
		firecracker.PatchPmem(firecracker.PmemUpdate{ID: "p", RateLimiter: limit}),
		firecracker.DeletePmem("p"),
		firecracker.PutNetworkInterface(firecracker.NetworkInterface{IfaceID: "e"}),
		firecracker.PutNetworkInterface(firecracker.NetworkInterface{
			IfaceID: "e", HostDevName: "t", GuestMAC: "02:00:00:00:00:01", MTU: 1400, RxRateLimiter: limit, TxRateLimiter: limit,
		}),
		firecracker.PatchNetworkInterface(firecracker.NetworkInterfaceUpdate{IfaceID: "e", RxRateLimiter: limit, TxRateLimiter: limit}),
		firecracker.DeleteNetworkInterface("e"),
		firecracker.PutVsock(firecracker.Vsock{GuestCID: 3, UDSPath: "/v"}),
		firecracker.PutVsock(firecracker.Vsock{GuestCID: 3, UDSPath: "/v", VsockID: "old"}),
		firecracker.PutEntropy(firecracker.Entropy{}),
		firecracker.PutEntropy(firecracker.Entropy{RateLimiter: limit}),
		firecracker.PutSerial(firecracker.Serial{}),
		firecracker.PutSerial(firecracker.Serial{SerialOutPath: "/s", RateLimiter: bucket}),
		firecracker.PutMemoryHotplug(firecracker.MemoryHotplugConfig{TotalSizeMiB: 256}),
		firecracker.PutMemoryHotplug(firecracker.MemoryHotplugConfig{TotalSizeMiB: 256, SlotSizeMiB: 128, BlockSizeMiB: 2}),
		firecracker.PatchMemoryHotplug(firecracker.MemoryHotplugUpdate{}),
		firecracker.PutBalloon(firecracker.Balloon{}),
		firecracker.PutBalloon(firecracker.Balloon{AmountMiB: 1, DeflateOnOOM: true, StatsPollingIntervalS: 2, FreePageHinting: true, FreePageReporting: true}),
		firecracker.PatchBalloon(firecracker.BalloonUpdate{}),
		firecracker.PatchBalloonStats(firecracker.BalloonStatsUpdate{}),
		firecracker.StartBalloonHinting(firecracker.BalloonHintingStart{}),
		firecracker.StartBalloonHinting(firecracker.BalloonHintingStart{AcknowledgeOnStop: new(false)}),
		firecracker.StopBalloonHinting(),
		firecracker.PutMMDSConfig(firecracker.MMDSConfig{NetworkInterfaces: []string{"e"}}),
		firecracker.PutMMDSConfig(firecracker.MMDSConfig{NetworkInterfaces: []string{"e"}, Version: "V2", IPv4Address: "169.254.169.254", IMDSCompat: true}),
		firecracker.PutMMDS(nil),
		firecracker.PatchMMDS(firecracker.Metadata{"gone": nil}),
		firecracker.PutLogger(firecracker.Logger{}),
		firecracker.PutLogger(firecracker.Logger{LogPath: "/l", Level: "Off", ShowLevel: true, ShowLogOrigin: true, Module: "m"}),
		firecracker.PutMetrics(firecracker.Metrics{MetricsPath: "/m"}),
		firecracker.PutMetrics(firecracker.Metrics{MetricsPath: "/m", EmitID: true, Properties: map[string]string{"a": "b"}}),
		firecracker.StartInstance(),
		firecracker.FlushMetrics(),
		firecracker.SendCtrlAltDel(),
		firecracker.Pause(),
		firecracker.Resume(),
		firecracker.CreateSnapshot(firecracker.SnapshotCreateParams{SnapshotPath: "/s", MemFilePath: "/m"}),
		firecracker.CreateSnapshot(firecracker.SnapshotCreateParams{SnapshotPath: "/s", MemFilePath: "/m", SnapshotType: firecracker.DiffSnapshot}),
		firecracker.LoadSnapshot(firecracker.SnapshotLoadParams{SnapshotPath: "/s"}),
		firecracker.LoadSnapshot(firecracker.SnapshotLoadParams{
			SnapshotPath: "/s", MemBackend: &firecracker.MemoryBackend{BackendType: "Uffd", BackendPath: "/u"}, MemFilePath: "/m",
			EnableDiffSnapshots: true, TrackDirtyPages: true, ResumeVM: true,
			NetworkOverrides: []firecracker.NetworkOverride{{IfaceID: "e", HostDevName: "t"}},
			ClockRealtime:    true, VsockOverride: &firecracker.VsockOverride{UDSPath: "/v"}, HugePages: "Snapshot",
		}),
	}
}

func TestRequestsAreSentAsFirecrackerSpellsThem(t *testing.T) {
	var b strings.Builder
	for _, r := range goldenRequests() {
		fmt.Fprint(&b, r)
		if r.Body != nil {
			body, err := json.Marshal(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %s", body)
		}
		fmt.Fprintln(&b)
	}
	const golden = "testdata/requests.txt"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersMayHaveMoreAndLessThanWeKnow(t *testing.T) {
	var got firecracker.VMConfig
	text := `{"boot-source":{"kernel_image_path":"","initrd_path":null,"boot_args":null},"drives":[{"drive_id":"a","is_root_device":true,
		"path_on_host":null,"socket":"/s","is_read_only":null,"io_engine":null,"rate_limiter":null,"cache_type":"Unsafe","from_the_future":1}],
		"balloon":null,"future":{},"machine-config":{"vcpu_count":1,"mem_size_mib":128,"huge_pages":"None"},"pmem":[]}`
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := firecracker.VMConfig{
		Drives:        []firecracker.Drive{{DriveID: "a", IsRootDevice: true, Socket: "/s", CacheType: "Unsafe"}},
		MachineConfig: &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 128, HugePages: "None"},
		Pmem:          []firecracker.Pmem{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
