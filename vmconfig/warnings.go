package vmconfig

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/smartvm/smartvm/errcode"
)

// maxBody is how much metadata Firecracker takes unless it is started with
// higher limits.
const maxBody = 51200

// mmioArgs is the longest that Firecracker appends to the boot args for each
// device, on x86_64 without PCI.
const mmioArgs = len(" virtio_mmio.device=4K@0xc0001000:10")

// Warnings returns what is legal and deprecated, without effect, or likely to
// surprise. A config with warnings is a good config.
func (c *Config) Warnings() []errcode.Detail {
	var f faults
	f.warnMachine(c)
	f.warnBootArgs(c)
	f.warnMMDS(c)
	for i := range c.Drives {
		if d := &c.Drives[i]; d.PartUUID != "" && !d.IsRootDevice {
			f.Add(fmt.Sprintf("drives[%d].partuuid", i), "has no effect on a drive that is not the root device")
		}
	}
	if c.Vsock != nil && c.Vsock.VsockID != "" {
		f.Add("vsock.vsock_id", "is deprecated and has no effect")
	}
	return f.Details
}

func (f *faults) warnMachine(c *Config) {
	m := c.MachineConfig
	if m == nil {
		return
	}
	if m.CPUTemplate != "" && m.CPUTemplate != "None" {
		const field = "machine-config.cpu_template"
		f.Add(field, "is deprecated: use cpu-config")
		if c.CPUConfig != nil {
			f.Add(field, "has no effect: cpu-config takes its place")
		}
	}
	if c.Limits != nil && c.Limits.MemoryMiB > 0 && m.HugePages == "2M" {
		f.Add("limits.memory_mib", "does not count the guest's memory, which is in huge pages")
	}
	if m.TrackDirtyPages && c.HugePages() {
		f.Add("machine-config.track_dirty_pages", "undoes the gain of huge_pages")
	}
}

func (f *faults) warnBootArgs(c *Config) {
	const field = "boot-source.boot_args"
	args, root := c.BootSource.BootArgs, c.rootArgs()
	if root != "" && strings.Contains(" "+args, " root=") {
		f.Add(field, "root= has no effect: Firecracker appends %q, and the kernel takes the last one", root)
	}
	appended := len(" pci=off") + len(root) + c.virtioDevices()*mmioArgs
	if n := len(args); args != "" && n <= maxCmdline-len(root) && n+appended > maxCmdline {
		f.Add(field, "may be too long: Firecracker appends up to %d bytes without PCI, and %d bytes are allowed", appended, maxCmdline)
	}
}

func (c *Config) virtioDevices() int {
	n := len(c.Drives) + len(c.Pmem) + len(c.NetworkInterfaces)
	for _, there := range []bool{c.Vsock != nil, c.Balloon != nil, c.Entropy != nil, c.MemoryHotplug != nil} {
		if there {
			n++
		}
	}
	return n
}

func (f *faults) warnMMDS(c *Config) {
	if m := c.MMDSConfig; m != nil && m.Version != "V2" {
		f.Add("mmds-config.version", "V1, which is also the default, is deprecated: any process of the guest reads it without a token")
	}
	if c.Metadata == nil {
		return
	}
	if c.MMDSConfig == nil {
		f.Add("metadata", "can't be read by the guest without mmds-config")
	}
	if body, err := json.Marshal(c.Metadata); err == nil && len(body) > maxBody {
		f.Add("metadata", "has %d bytes, and Firecracker takes %d unless it is started with higher limits", len(body), maxBody)
	}
}
