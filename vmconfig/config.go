package vmconfig

import "github.com/smartvm/smartvm/firecracker"

// Config is everything that is decided about a VM before it boots. The zero
// value lacks only a kernel. Sections that are nil are not sent to Firecracker,
// which then has its own default, or no such device.
//
// A Config is a plain value: it may be read by several goroutines, and changed
// by one at a time. Whoever keeps one takes a [Config.Clone].
type Config struct { //nolint:recvcheck // encoding/json marshals values, and unmarshals to pointers
	// BootSource has the kernel, the only thing that every VM needs.
	BootSource firecracker.BootSource `json:"boot-source"`
	// MachineConfig has vCPUs and memory. Nil is Firecracker's default: 1 vCPU and 128 MiB.
	MachineConfig *firecracker.MachineConfig `json:"machine-config,omitempty"`
	// CPUConfig is a custom CPU template, in place or in a file.
	CPUConfig *CPUConfig `json:"cpu-config,omitempty"`

	// Drives are the block devices, in the order in which the guest sees them,
	// but for the root drive, which is always first.
	Drives []Drive `json:"drives"`
	// Pmem are the persistent memory devices.
	Pmem []firecracker.Pmem `json:"pmem,omitempty"`
	// NetworkInterfaces are the network cards. One with an empty host_dev_name
	// gets a TAP made by smartvm.
	NetworkInterfaces []firecracker.NetworkInterface `json:"network-interfaces,omitempty"`
	// Network is about those of them that get a TAP made by smartvm. A key of smartvm.
	Network *Network `json:"network,omitempty"`
	// Jail is about the jail that Firecracker runs in. A key of smartvm.
	Jail *Jail `json:"jail,omitempty"`

	Vsock         *firecracker.Vsock               `json:"vsock,omitempty"`
	Balloon       *firecracker.Balloon             `json:"balloon,omitempty"`
	Entropy       *firecracker.Entropy             `json:"entropy,omitempty"`
	MemoryHotplug *firecracker.MemoryHotplugConfig `json:"memory-hotplug,omitempty"`

	// Limits is what the VM may take from its host. A key of smartvm.
	Limits *Limits `json:"limits,omitempty" strict:"exact"`

	// MMDSConfig makes interfaces answer metadata requests of the guest.
	MMDSConfig *firecracker.MMDSConfig `json:"mmds-config,omitempty"`
	// Metadata is what the guest finds there at first: any JSON object. From a
	// file its numbers are json.Number, so that no digit is lost. A key of smartvm.
	Metadata firecracker.Metadata `json:"metadata,omitzero"`

	// FirecrackerVersion is the release to boot on. Zero is the manager's choice. A
	// key of smartvm.
	FirecrackerVersion firecracker.Version `json:"firecracker-version,omitzero"`

	// Logger says where Firecracker logs. It is not among the requests: see [Config.LogArgs].
	Logger  *firecracker.Logger  `json:"logger,omitempty"`
	Metrics *firecracker.Metrics `json:"metrics,omitempty"`
	// Serial says where the serial console's output goes. A key of smartvm:
	// Firecracker has it in its API, and ignores it in a file.
	Serial *firecracker.Serial `json:"serial,omitempty"`
}

// Drive is a block device, with what smartvm does about its file.
type Drive struct {
	firecracker.Drive

	// Ephemeral true gives the VM a copy that is gone with it, false gives it
	// the file itself, so that writes persist. Nil is the manager's default: a
	// copy of a writable drive, the file itself of a read-only one.
	Ephemeral *bool `json:"ephemeral,omitempty"`
}

// CPUConfig is a custom CPU template. In a file it is an object, or the path of
// a JSON file with that object, the older form. Firecracker's API takes only
// the object: read the file and [CPUConfig.Resolve] before [Config.Requests].
type CPUConfig struct { //nolint:recvcheck // encoding/json marshals values, and unmarshals to pointers
	// Path of a JSON file with the template; then the rest is empty.
	Path string `json:"-" strict:"text"`

	firecracker.CPUConfig
}

// defaultMemMiB is what Firecracker gives a VM that says nothing.
const defaultMemMiB = 128

// MemMiB is the memory that the guest boots with, in MiB.
func (c *Config) MemMiB() int {
	if c.MachineConfig == nil {
		return defaultMemMiB
	}
	return c.MachineConfig.MemSizeMiB
}

// HugePages reports whether the guest's memory consists of huge pages.
func (c *Config) HugePages() bool {
	m := c.MachineConfig
	return m != nil && m.HugePages != "" && m.HugePages != "None"
}

// Hugetlb reports whether the guest's memory is of the pool of huge pages that the host
// keeps apart (hugetlbfs). Firecracker can't map such memory from a file.
func (c *Config) Hugetlb() bool {
	m := c.MachineConfig
	return m != nil && m.HugePages == "2M"
}
