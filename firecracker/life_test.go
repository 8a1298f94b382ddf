package firecracker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// file returns an empty file of a size that Firecracker takes for a disk.
func file(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func needX86(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("missing: an x86_64 host, which the test's guest is made for")
	}
}

// boot starts a Firecracker whose guest halts.
func boot(t *testing.T) *firecracker.Client {
	t.Helper()
	needX86(t)
	c := newClient(t, startReal(t), firecracker.ClientOptions{})
	err := c.Pipeline(t.Context(), []firecracker.Request{
		firecracker.PutMachineConfig(firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 128}),
		firecracker.PutBootSource(firecracker.BootSource{KernelImagePath: guest(t)}),
	})
	if err == nil {
		err = c.StartInstance(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRealAcceptsEachPreBootCallThatItKnows(t *testing.T) {
	socket := startReal(t)
	c := newClient(t, socket, firecracker.ClientOptions{})
	limit := &firecracker.RateLimiter{
		Bandwidth: &firecracker.TokenBucket{Size: 1 << 20, RefillTime: 100, OneTimeBurst: 1},
		Ops:       &firecracker.TokenBucket{Size: 100, RefillTime: 100},
	}
	requests := []firecracker.Request{
		firecracker.PutLogger(firecracker.Logger{LogPath: file(t, "log"), Level: "Debug", ShowLevel: true, ShowLogOrigin: true, Module: "api"}),
		firecracker.PutMetrics(firecracker.Metrics{MetricsPath: file(t, "metrics")}),
		firecracker.PutMachineConfig(firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 128, TrackDirtyPages: true, HugePages: "None", CPUTemplate: "None"}),
		firecracker.PatchMachineConfig(firecracker.MachineConfigUpdate{VCPUCount: new(2), SMT: new(true)}),
		firecracker.PutBootSource(firecracker.BootSource{KernelImagePath: guest(t), InitrdPath: file(t, "initrd"), BootArgs: "console=ttyS0"}),
		firecracker.PutDrive(firecracker.Drive{
			DriveID: "root_1", PathOnHost: file(t, "disk"), IsRootDevice: true, IsReadOnly: true, PartUUID: "0eaa91a0-01",
			CacheType: "Writeback", IOEngine: "Sync", RateLimiter: limit,
		}),
		firecracker.PutVsock(firecracker.Vsock{GuestCID: 3, UDSPath: socket + ".vsock"}),
		firecracker.PutEntropy(firecracker.Entropy{RateLimiter: limit}),
		firecracker.PutBalloon(firecracker.Balloon{AmountMiB: 1, DeflateOnOOM: true, StatsPollingIntervalS: 1}),
		firecracker.PutMMDS(firecracker.Metadata{"latest": firecracker.Metadata{"id": "x"}}),
		firecracker.PatchMMDS(firecracker.Metadata{"more": nil}),
		firecracker.PutCPUConfig(firecracker.CPUConfig{CPUIDModifiers: []firecracker.CPUIDModifier{{
			Leaf: "0x1", Subleaf: "0x0", Modifiers: []firecracker.CPUIDRegisterModifier{{Register: "ecx", Bitmap: "0b" + strings.Repeat("x", 32)}},
		}}}),
	}
	for _, r := range requests {
		if err := c.Do(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	got, err := c.VMConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Drives) != 1 || got.Drives[0].RateLimiter == nil || got.Vsock == nil || got.Balloon == nil || got.Entropy == nil ||
		got.MachineConfig == nil || got.MachineConfig.VCPUCount != 2 || got.BootSource.BootArgs == "" {
		t.Errorf("configuration is %+v", got)
	}
}

func TestRealIsNotSentWhatItDoesNotKnow(t *testing.T) {
	c := newClient(t, startReal(t), firecracker.ClientOptions{})
	v, err := c.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []firecracker.Request{
		firecracker.PutSerial(firecracker.Serial{SerialOutPath: "/dev/null"}),
		firecracker.PutPmem(firecracker.Pmem{ID: "p", PathOnHost: "/nothing"}),
		firecracker.PutMemoryHotplug(firecracker.MemoryHotplugConfig{TotalSizeMiB: 128}),
		firecracker.LoadSnapshot(firecracker.SnapshotLoadParams{SnapshotPath: "/nothing", MemFilePath: "/nothing", TrackDirtyPages: true}),
	} {
		if r.Check(v) == nil {
			t.Skipf("missing: a Firecracker older than v1.13, this is %s", v)
		}
		if err := c.Do(t.Context(), r); !errors.Is(err, errcode.UnsupportedVersion) {
			t.Errorf("%s: %v", r, err)
		}
	}
	// Had the load been sent, the process would have ended.
	if _, err := c.Info(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRealPausesAndResumesTwice(t *testing.T) {
	c := boot(t)
	for _, step := range []struct {
		r    firecracker.Request
		want firecracker.InstanceState
	}{
		{firecracker.Pause(), firecracker.Paused},
		{firecracker.Pause(), firecracker.Paused},
		{firecracker.Resume(), firecracker.Running},
		{firecracker.Resume(), firecracker.Running},
		{firecracker.FlushMetrics(), firecracker.Running},
		{firecracker.SendCtrlAltDel(), firecracker.Running},
	} {
		if err := c.Do(t.Context(), step.r); err != nil {
			t.Fatal(err)
		}
		if info, err := c.Info(t.Context()); err != nil || info.State != step.want {
			t.Errorf("after %s: %+v, %v", step.r, info, err)
		}
	}
	err := c.PutDrive(t.Context(), firecracker.Drive{DriveID: "late", PathOnHost: file(t, "disk")})
	if !errors.Is(err, errcode.APIError) || !strings.Contains(err.Error(), "only before the boot, the VM is Running") {
		t.Errorf("got %v", err)
	}
}

func TestRealSnapshotGoesRoundTrip(t *testing.T) {
	c := boot(t)
	dir := t.TempDir()
	params := firecracker.SnapshotCreateParams{SnapshotPath: filepath.Join(dir, "state"), MemFilePath: filepath.Join(dir, "memory")}
	err := c.CreateSnapshot(t.Context(), params)
	if !errors.Is(err, errcode.APIError) || !strings.Contains(err.Error(), "only while paused, the VM is Running") {
		t.Fatalf("while running: %v", err)
	}
	if err := errors.Join(c.Pause(t.Context()), c.CreateSnapshot(t.Context(), params)); err != nil {
		t.Fatal(err)
	}
	load := firecracker.SnapshotLoadParams{
		SnapshotPath: params.SnapshotPath,
		MemBackend:   &firecracker.MemoryBackend{BackendType: "File", BackendPath: params.MemFilePath},
		ResumeVM:     true,
	}
	second := newClient(t, startReal(t), firecracker.ClientOptions{})
	if err := second.LoadSnapshot(t.Context(), load); err != nil {
		t.Fatal(err)
	}
	if info, err := second.Info(t.Context()); err != nil || info.State != firecracker.Running {
		t.Errorf("%+v, %v", info, err)
	}

	load.SnapshotPath = filepath.Join(dir, "missing")
	third := newClient(t, startReal(t), firecracker.ClientOptions{})
	err = third.LoadSnapshot(t.Context(), load)
	if !errors.Is(err, errcode.APIError) || !strings.Contains(err.Error(), "start another one") {
		t.Errorf("load of nothing: %v", err)
	}
}

func TestRealMetadataHasALimitOfItsOwn(t *testing.T) {
	c := newClient(t, startReal(t, "--mmds-size-limit", "1000"), firecracker.ClientOptions{})
	err := c.PutMMDS(t.Context(), firecracker.Metadata{"k": strings.Repeat("x", 2000)})
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(e.Hint, "--mmds-size-limit") {
		t.Errorf("got %v", err)
	}
}

func TestRealServesMetadataOnAnInterface(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root, for a TAP")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("missing: ", err)
	}
	c := newClient(t, startReal(t), firecracker.ClientOptions{})
	// Firecracker makes the TAP, which goes with the process.
	err := c.Pipeline(t.Context(), []firecracker.Request{
		firecracker.PutNetworkInterface(firecracker.NetworkInterface{IfaceID: "eth0", HostDevName: fmt.Sprintf("fct%d", os.Getpid()), GuestMAC: "02:00:00:00:00:01"}),
		firecracker.PutMMDSConfig(firecracker.MMDSConfig{NetworkInterfaces: []string{"eth0"}, Version: "V2"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.VMConfig(t.Context())
	if err != nil || len(got.NetworkInterfaces) != 1 || got.MMDSConfig == nil || got.MMDSConfig.Version != "V2" {
		t.Errorf("%+v, %v", got, err)
	}
	err = c.PutMMDSConfig(t.Context(), firecracker.MMDSConfig{NetworkInterfaces: []string{"eth1"}})
	if !errors.Is(err, errcode.APIError) || !strings.Contains(err.Error(), "interfaces must have been added") {
		t.Errorf("unknown interface: %v", err)
	}
}

// Firecracker can die of its answers when the client hangs up too early.
func TestRealSurvivesPoisonedConnections(t *testing.T) {
	c := newClient(t, startReal(t), firecracker.ClientOptions{BodyLimit: 1 << 20})
	big := firecracker.Metadata{"k": strings.Repeat("x", 60000)}
	for range 30 {
		if answer, err := c.Put(t.Context(), "/mmds", big); err != nil || answer.OK {
			t.Fatalf("%+v, %v", answer, err)
		}
		// Few connections are open at a time: the limit is not what this is about.
		waitFor(t, func() bool { _, err := c.Info(t.Context()); return err == nil || !errors.Is(err, errcode.APIError) })
		if _, err := c.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRealSurvivesACallThatIsGivenUp(t *testing.T) {
	c := boot(t)
	if err := c.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	params := firecracker.SnapshotCreateParams{SnapshotPath: filepath.Join(dir, "state"), MemFilePath: filepath.Join(dir, "memory")}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := c.CreateSnapshot(ctx, params); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want a snapshot that takes longer", err)
	}
	// This waits for the snapshot, as Firecracker does one thing at a time.
	for range 3 {
		if info, err := c.Info(t.Context()); err != nil || info.State != firecracker.Paused {
			t.Fatalf("%+v, %v", info, err)
		}
	}
}

func TestRealSurvivesCloseDuringACall(t *testing.T) {
	c := boot(t)
	if err := c.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := newClient(t, c.Socket(), firecracker.ClientOptions{})
	dir := t.TempDir()
	params := firecracker.SnapshotCreateParams{SnapshotPath: filepath.Join(dir, "state"), MemFilePath: filepath.Join(dir, "memory")}
	done := make(chan error)
	go func() { done <- c.CreateSnapshot(t.Context(), params) }()
	waitFor(t, func() bool { _, err := os.Stat(params.MemFilePath); return err == nil })
	_ = c.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	for range 3 {
		if _, err := other.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
