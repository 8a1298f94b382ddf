package vmconfig_test

import (
	"math"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

func valid() *vmconfig.Config {
	return &vmconfig.Config{BootSource: firecracker.BootSource{KernelImagePath: "vmlinux"}}
}

// wrong has every mistake that can be made at once.
func wrong() *vmconfig.Config {
	none := &firecracker.TokenBucket{}
	limiter := &firecracker.RateLimiter{Bandwidth: none, Ops: &firecracker.TokenBucket{Size: 1, RefillTime: math.MaxUint64}}
	return &vmconfig.Config{
		BootSource: firecracker.BootSource{InitrdPath: "a\x00b", BootArgs: "a\x00" + strings.Repeat("x", 2047)},
		MachineConfig: &firecracker.MachineConfig{
			VCPUCount: 33, SMT: true, MemSizeMiB: 63, HugePages: "2m", CPUTemplate: "T2Z", GDBSocketPath: strings.Repeat("g", 5000),
		},
		CPUConfig: &vmconfig.CPUConfig{CPUConfig: firecracker.CPUConfig{
			KVMCapabilities: []string{"121", "!x", "-1", "4294967296"},
			CPUIDModifiers: []firecracker.CPUIDModifier{{Leaf: "1", Subleaf: "0x1ffffffff", Flags: -1, Modifiers: []firecracker.CPUIDRegisterModifier{
				{Register: "eex", Bitmap: "0b2"}, {Bitmap: strings.Repeat("x", 33)},
			}}},
			MSRModifiers: []firecracker.MSRModifier{{Addr: "", Bitmap: "0x1"}},
			RegModifiers: []firecracker.RegisterModifier{{Addr: "0xg", Bitmap: strings.Repeat("1", 129)}},
			VCPUFeatures: []firecracker.VCPUFeature{{Index: -1, Bitmap: "y"}},
		}},
		Drives: []vmconfig.Drive{
			{Drive: firecracker.Drive{DriveID: "root-fs", IsRootDevice: true, PartUUID: "a b", CacheType: "writeback", IOEngine: "Fast", RateLimiter: limiter}},
			{Drive: firecracker.Drive{DriveID: "data", PathOnHost: "x\n", IsRootDevice: true}},
			{Drive: firecracker.Drive{DriveID: "data", PathOnHost: "x\xff"}},
			{Drive: firecracker.Drive{
				DriveID: "vu", Socket: strings.Repeat("s", 108), PathOnHost: "x", IsReadOnly: true, IOEngine: "Sync", RateLimiter: &firecracker.RateLimiter{},
			}, Ephemeral: new(true)},
			{},
		},
		Pmem: []firecracker.Pmem{{ID: "p", RootDevice: true}, {ID: "p", PathOnHost: "x", RateLimiter: limiter}, {ID: strings.Repeat("i", 901), PathOnHost: "x"}},
		NetworkInterfaces: []firecracker.NetworkInterface{
			{IfaceID: "eth0", HostDevName: "tap%d", GuestMAC: "01:00:00:00:00:01", MTU: 67, RxRateLimiter: limiter, TxRateLimiter: limiter},
			{IfaceID: "eth0", HostDevName: "tap0", GuestMAC: "00:00:00:00:00:00"},
			{IfaceID: "eth1", HostDevName: "tap0", GuestMAC: "02:00:00:00:00:AA", MTU: 65536},
			{IfaceID: "eth2", HostDevName: "abcdefghijklmnop", GuestMAC: "02:00:00:00:00:aa"},
			{IfaceID: "eth3", HostDevName: "a b", GuestMAC: "02-00-00-00-00-ab"},
			{IfaceID: "eth4", HostDevName: ".."},
		},
		Vsock:         &firecracker.Vsock{GuestCID: 2, UDSPath: strings.Repeat("u", 102)},
		Balloon:       &firecracker.Balloon{AmountMiB: 64, StatsPollingIntervalS: 65536},
		Entropy:       &firecracker.Entropy{RateLimiter: limiter},
		MemoryHotplug: &firecracker.MemoryHotplugConfig{TotalSizeMiB: 64, SlotSizeMiB: 100, BlockSizeMiB: 3},
		Limits: &vmconfig.Limits{CPU: math.NaN(), CPUWeight: 10001, MemoryMiB: 127, PIDs: 40, IO: []vmconfig.IOLimit{
			{DriveID: "dat", ReadBytesPerSecond: 1},
			{DriveID: "data", ReadBytesPerSecond: 1},
			{DriveID: "data", WriteOpsPerSecond: 1},
			{DriveID: "vu", ReadOpsPerSecond: 1},
			{WriteBytesPerSecond: 1},
			{},
		}},
		MMDSConfig: &firecracker.MMDSConfig{NetworkInterfaces: []string{"eth0", "etho"}, Version: "V3", IPv4Address: "169.254.0.1"},
		Metadata:   firecracker.Metadata{"f": func() {}},
		Logger:     &firecracker.Logger{LogPath: "\x7f", Level: "Inof", Module: "\x00"},
		Metrics:    &firecracker.Metrics{},
		Serial:     &firecracker.Serial{SerialOutPath: "\t", RateLimiter: none},
	}
}

func TestValidateReportsEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	golden(t, "validate.txt", mistakes(t, wrong().Validate()))
}

// Each case is one step to the wrong or the right side of a rule.
func TestValidateDrawsTheLineWhereFirecrackerDoes(t *testing.T) {
	t.Parallel()
	machine := func(m firecracker.MachineConfig) func(*vmconfig.Config) {
		return func(c *vmconfig.Config) { c.MachineConfig = &m }
	}
	args := func(n int) func(*vmconfig.Config) {
		return func(c *vmconfig.Config) { c.BootSource.BootArgs = strings.Repeat("a", n) }
	}
	rootArgs := func(n int, readOnly bool, uuid string) func(*vmconfig.Config) {
		return func(c *vmconfig.Config) {
			args(n)(c)
			c.Drives = []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "r", PathOnHost: "x", IsRootDevice: true, IsReadOnly: readOnly, PartUUID: uuid}}}
		}
	}
	nic := func(n firecracker.NetworkInterface) func(*vmconfig.Config) {
		n.IfaceID = "a"
		return func(c *vmconfig.Config) { c.NetworkInterfaces = []firecracker.NetworkInterface{n} }
	}
	vsock := func(cid uint32, n int) func(*vmconfig.Config) {
		return func(c *vmconfig.Config) { c.Vsock = &firecracker.Vsock{GuestCID: cid, UDSPath: strings.Repeat("u", n)} }
	}
	hotplug := func(total, slot, block int) func(*vmconfig.Config) {
		return func(c *vmconfig.Config) {
			c.MemoryHotplug = &firecracker.MemoryHotplugConfig{TotalSizeMiB: total, SlotSizeMiB: slot, BlockSizeMiB: block}
		}
	}
	mmds := func(address string) func(*vmconfig.Config) {
		return func(c *vmconfig.Config) {
			nic(firecracker.NetworkInterface{})(c)
			c.MMDSConfig = &firecracker.MMDSConfig{NetworkInterfaces: []string{"a", "a"}, IPv4Address: address}
		}
	}
	level := func(l string) func(*vmconfig.Config) {
		return func(c *vmconfig.Config) { c.Logger = &firecracker.Logger{Level: l} }
	}
	limits := func(l vmconfig.Limits) func(*vmconfig.Config) {
		return func(c *vmconfig.Config) { c.Limits = &l }
	}
	memory := func(limit, guest, plugged int) func(*vmconfig.Config) {
		return func(c *vmconfig.Config) {
			machine(firecracker.MachineConfig{VCPUCount: 4, MemSizeMiB: guest})(c)
			if plugged > 0 {
				hotplug(plugged, 0, 0)(c)
			}
			limits(vmconfig.Limits{MemoryMiB: limit})(c)
		}
	}
	tests := []struct {
		name   string
		change func(*vmconfig.Config)
		field  string // "" = valid
	}{
		{"1 vcpu with smt", machine(firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 1, SMT: true}), ""},
		{"3 vcpus", machine(firecracker.MachineConfig{VCPUCount: 3, MemSizeMiB: 1}), ""},
		{"3 vcpus with smt", machine(firecracker.MachineConfig{VCPUCount: 3, MemSizeMiB: 1, SMT: true}), "machine-config.vcpu_count"},
		{"32 vcpus", machine(firecracker.MachineConfig{VCPUCount: 32, MemSizeMiB: 1}), ""},
		{"no vcpu", machine(firecracker.MachineConfig{MemSizeMiB: 1}), "machine-config.vcpu_count"},
		{"no memory", machine(firecracker.MachineConfig{VCPUCount: 1}), "machine-config.mem_size_mib"},
		{"memory that overflows", machine(firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 1 << 43}), "machine-config.mem_size_mib"},
		{"odd memory with huge pages", machine(firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 3, HugePages: "Transparent"}), "machine-config.mem_size_mib"},
		{"odd memory without", machine(firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 3, HugePages: "None"}), ""},
		{"longest boot args", args(2047), ""},
		{"too long boot args", args(2048), "boot-source.boot_args"},
		{"longest with root", rootArgs(2047-len(" root=/dev/vda rw"), false, ""), ""},
		{"too long with root", rootArgs(2048-len(" root=/dev/vda ro"), true, ""), "boot-source.boot_args"},
		{"too long with partuuid", rootArgs(2048-len(" root=PARTUUID=1-2 rw"), false, "1-2"), "boot-source.boot_args"},
		{"boot args of several lines", func(c *vmconfig.Config) { c.BootSource.BootArgs = "a\n\tb -- ü\n" }, ""},
		{"initrd beside a root drive", func(c *vmconfig.Config) { rootArgs(1, false, "")(c); c.BootSource.InitrdPath = "i" }, ""},
		{"an id for two kinds", func(c *vmconfig.Config) {
			nic(firecracker.NetworkInterface{})(c)
			c.Pmem = []firecracker.Pmem{{ID: "a", PathOnHost: "x"}}
		}, ""},
		{"partuuid beside the root", func(c *vmconfig.Config) {
			c.Drives = []vmconfig.Drive{{Drive: firecracker.Drive{DriveID: "r", PathOnHost: "x", PartUUID: "a b"}}}
		}, ""},
		{"longest interface name", nic(firecracker.NetworkInterface{HostDevName: "abcdefghijklmno"}), ""},
		{"smallest MTU", nic(firecracker.NetworkInterface{MTU: 68}), ""},
		{"empty limiter", nic(firecracker.NetworkInterface{RxRateLimiter: &firecracker.RateLimiter{}}), ""},
		{"negative MTU", nic(firecracker.NetworkInterface{MTU: -1}), "network-interfaces[0].mtu"},
		{"smallest CID, longest path", vsock(3, 101), ""},
		{"highest CID", vsock(math.MaxUint32-1, 1), ""},
		{"any CID", vsock(math.MaxUint32, 1), "vsock.guest_cid"},
		{"balloon of all memory", func(c *vmconfig.Config) { c.Balloon = &firecracker.Balloon{AmountMiB: 128} }, ""},
		{"balloon above the default", func(c *vmconfig.Config) { c.Balloon = &firecracker.Balloon{AmountMiB: 129} }, "balloon.amount_mib"},
		{"hotplug defaults", hotplug(128, 0, 0), ""},
		{"no hotplug total", hotplug(0, 0, 0), "memory-hotplug.total_size_mib"},
		{"hotplug slot below 128", hotplug(128, 64, 0), "memory-hotplug.slot_size_mib"},
		{"hotplug block above the slot", hotplug(128, 0, 256), "memory-hotplug.slot_size_mib"},
		{"hotplug total off the slots", hotplug(129, 0, 0), "memory-hotplug.total_size_mib"},
		{"negative hotplug", hotplug(-128, -128, -2), "memory-hotplug.total_size_mib"},
		{"a template twice", func(c *vmconfig.Config) {
			c.CPUConfig = &vmconfig.CPUConfig{Path: "x", CPUConfig: firecracker.CPUConfig{KVMCapabilities: []string{"1"}}}
		}, "cpu-config"},
		{"first link-local", mmds("169.254.1.0"), ""},
		{"last link-local", mmds("169.254.254.255"), ""},
		{"reserved link-local", mmds("169.254.255.0"), "mmds-config.ipv4_address"},
		{"IPv6 link-local", mmds("fe80::1"), "mmds-config.ipv4_address"},
		{"no MMDS interface", func(c *vmconfig.Config) { c.MMDSConfig = &firecracker.MMDSConfig{} }, "mmds-config.network_interfaces"},
		{"no limits", limits(vmconfig.Limits{}), ""},
		{"least cores", limits(vmconfig.Limits{CPU: 0.01}), ""},
		{"most cores", limits(vmconfig.Limits{CPU: 8192}), ""},
		{"too little of a core", limits(vmconfig.Limits{CPU: 0.00999}), "limits.cpu"},
		{"too many cores", limits(vmconfig.Limits{CPU: math.Inf(1)}), "limits.cpu"},
		{"negative cores", limits(vmconfig.Limits{CPU: -1}), "limits.cpu"},
		{"weights", limits(vmconfig.Limits{CPUWeight: 1}), ""},
		{"negative weight", limits(vmconfig.Limits{CPUWeight: -1}), "limits.cpu_weight"},
		{"memory of the default guest", limits(vmconfig.Limits{MemoryMiB: 128 + 33}), ""},
		{"memory below the default guest's need", limits(vmconfig.Limits{MemoryMiB: 128 + 32}), "limits.memory_mib"},
		{"memory of a large guest", memory(4096+32+32, 4096, 0), ""},
		{"memory below its need", memory(4096+32+31, 4096, 0), "limits.memory_mib"},
		{"memory with what can be plugged in", memory(4096+128+32+33, 4096, 128), ""},
		{"memory without that", memory(4096+128+32+32, 4096, 128), "limits.memory_mib"},
		{"negative memory", limits(vmconfig.Limits{MemoryMiB: -1}), "limits.memory_mib"},
		{"memory that overflows", limits(vmconfig.Limits{MemoryMiB: 1 << 43}), "limits.memory_mib"},
		{"least threads", limits(vmconfig.Limits{PIDs: 9}), ""},
		{"too few threads", limits(vmconfig.Limits{PIDs: 8}), "limits.pids"},
		{"too many threads", limits(vmconfig.Limits{PIDs: 1<<22 + 1}), "limits.pids"},
		{"a limit of all drives without one", limits(vmconfig.Limits{IO: []vmconfig.IOLimit{{ReadOpsPerSecond: 1}}}), "limits.io[0]"},
		{"limits of all drives and of one", func(c *vmconfig.Config) {
			rootArgs(1, false, "")(c)
			limits(vmconfig.Limits{IO: []vmconfig.IOLimit{{ReadOpsPerSecond: 1}, {DriveID: "r", ReadOpsPerSecond: 2}}})(c)
		}, ""},
		{"level in any case", level("wArNiNg"), ""},
		{"short level", level("warn"), ""},
		{"no level", level("no"), "logger.level"},
	}
	for _, tt := range tests {
		c := valid()
		tt.change(c)
		err := c.Validate()
		switch {
		case tt.field == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.field != "" && err == nil:
			t.Errorf("%s: accepted", tt.name)
		case tt.field != "" && !strings.Contains("\n"+mistakes(t, err), "\n"+tt.field+": "):
			t.Errorf("%s: got %v, want a mistake of %s", tt.name, err, tt.field)
		}
	}
}

func TestValidateNeedsOnlyAKernel(t *testing.T) {
	t.Parallel()
	if err := valid().Validate(); err != nil {
		t.Error(err)
	}
	got := mistakes(t, new(vmconfig.Config).Validate())
	if want := "boot-source.kernel_image_path: is required\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWarningsNameWhatIsDeprecatedOrWithoutEffect(t *testing.T) {
	t.Parallel()
	if w := valid().Warnings(); len(w) > 0 {
		t.Errorf("warnings of a minimal config: %v", w)
	}
	c := parse(t, string(read(t, "everything.json")))
	c.MMDSConfig.Version = ""
	c.Drives[1].PartUUID = "1"
	c.BootSource.BootArgs = "root=/dev/vdb " + strings.Repeat("a", 1900)
	c.Metadata = firecracker.Metadata{"a": strings.Repeat("b", 51200)}
	var b strings.Builder
	for _, w := range c.Warnings() {
		b.WriteString(w.String() + "\n")
	}
	c.MMDSConfig = nil
	for _, w := range c.Warnings() {
		if w.Field == "metadata" {
			b.WriteString("without mmds-config: " + w.String() + "\n")
		}
	}
	golden(t, "warnings.txt", b.String())
}
