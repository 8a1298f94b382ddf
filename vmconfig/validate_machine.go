package vmconfig

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
	"unicode"

	"github.com/smartvm/smartvm/firecracker"
)

// maxCmdline is Firecracker's 2048 bytes without the closing zero byte: its
// v1.12.1 takes 2047 and refuses 2048.
const maxCmdline = 2047

// rootArgs is what Firecracker appends to the boot args for the root device.
func (c *Config) rootArgs() string {
	mode := func(readOnly bool) string {
		if readOnly {
			return " ro"
		}
		return " rw"
	}
	for _, d := range c.Drives {
		switch {
		case !d.IsRootDevice:
		case d.PartUUID != "":
			return " root=PARTUUID=" + d.PartUUID + mode(d.IsReadOnly)
		default:
			return " root=/dev/vda" + mode(d.IsReadOnly)
		}
	}
	for i, p := range c.Pmem {
		if p.RootDevice {
			return fmt.Sprintf(" root=/dev/pmem%d", i) + mode(p.ReadOnly)
		}
	}
	return ""
}

// bootSource allows an initrd beside a root drive: Firecracker v1.12.1 boots
// that, and an initrd that mounts root= needs it.
func (f *faults) bootSource(b *firecracker.BootSource, appended string) {
	f.path("boot-source.kernel_image_path", b.KernelImagePath)
	f.optionalPath("boot-source.initrd_path", b.InitrdPath)
	if b.BootArgs == "" {
		return
	}
	const field = "boot-source.boot_args"
	if n := len(b.BootArgs) + len(appended); n > maxCmdline {
		f.Add(field, "has %d bytes with what Firecracker appends (%q), at most %d are allowed", n, appended, maxCmdline)
	}
	// The kernel takes tab and newline for spaces, and Firecracker lets all
	// pass; a zero byte would silently cut the line.
	if strings.ContainsFunc(b.BootArgs, func(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\n' }) {
		f.Add(field, "has a control character")
	}
}

// maxMemMiB is where the size in bytes overflows.
const maxMemMiB = math.MaxInt64 >> 20

func (f *faults) machine(c *Config) {
	m := c.MachineConfig
	if m == nil {
		return
	}
	f.between("machine-config.vcpu_count", m.VCPUCount, 1, 32)
	if m.SMT && m.VCPUCount > 1 && m.VCPUCount%2 == 1 {
		f.Add("machine-config.vcpu_count", "%d is not 1 or even, as smt needs", m.VCPUCount)
	}
	f.between("machine-config.mem_size_mib", m.MemSizeMiB, 1, maxMemMiB)
	f.oneOf("machine-config.huge_pages", m.HugePages, "None", "2M", "Transparent")
	if c.HugePages() && m.MemSizeMiB%2 == 1 {
		f.Add("machine-config.mem_size_mib", "%d is not even, as huge_pages needs", m.MemSizeMiB)
	}
	f.oneOf("machine-config.cpu_template", m.CPUTemplate, "None", "C3", "T2", "T2S", "T2CL", "T2A", "V1N1")
	f.optionalPath("machine-config.gdb_socket_path", m.GDBSocketPath)
}

func (f *faults) balloon(c *Config) {
	b := c.Balloon
	if b == nil {
		return
	}
	f.between("balloon.amount_mib", b.AmountMiB, 0, math.MaxUint32)
	if memory := c.MemMiB(); b.AmountMiB > memory && memory > 0 {
		f.Add("balloon.amount_mib", "%d is more than the VM's memory, %d MiB", b.AmountMiB, memory)
	}
	f.between("balloon.stats_polling_interval_s", b.StatsPollingIntervalS, 0, math.MaxUint16)
}

func (f *faults) memoryHotplug(m *firecracker.MemoryHotplugConfig) {
	if m == nil {
		return
	}
	const minBlock, minSlot = 2, 128 // also the defaults
	block, slot := m.BlockSizeMiB, m.SlotSizeMiB
	if block == 0 {
		block = minBlock
	}
	if slot == 0 {
		slot = minSlot
	}
	f.between("memory-hotplug.block_size_mib", block, minBlock, math.MaxUint32)
	if block > 0 && bits.OnesCount(uint(block)) != 1 {
		f.Add("memory-hotplug.block_size_mib", "%d is not a power of two", block)
	}
	f.between("memory-hotplug.slot_size_mib", slot, minSlot, math.MaxUint32)
	if block > 0 && slot%block != 0 {
		f.Add("memory-hotplug.slot_size_mib", "%d is not a multiple of the block size, %d MiB", slot, block)
	}
	f.between("memory-hotplug.total_size_mib", m.TotalSizeMiB, max(slot, minSlot), math.MaxUint32)
	if slot > 0 && m.TotalSizeMiB%slot != 0 {
		f.Add("memory-hotplug.total_size_mib", "%d is not a multiple of the slot size, %d MiB", m.TotalSizeMiB, slot)
	}
}
