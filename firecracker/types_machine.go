package firecracker

// MachineConfig is the body of PUT and GET /machine-config.
type MachineConfig struct {
	VCPUCount  int `json:"vcpu_count"`   // 1..32; 1 or even when SMT is on
	MemSizeMiB int `json:"mem_size_mib"` // guest memory in MiB, at least 1; even with huge pages
	// SMT shows the guest two hardware threads per core. x86_64 only.
	SMT bool `json:"smt,omitempty"`
	// CPUTemplate is a static template: C3, T2, T2S, T2CL, T2A (x86_64), V1N1 (aarch64) or None.
	// Firecracker has deprecated it in favour of [CPUConfig].
	CPUTemplate string `json:"cpu_template,omitempty" values:"None=1.1 T2S=1.1.1 T2CL=1.3 T2A=1.3 V1N1=1.4"`
	// TrackDirtyPages lets diff snapshots hold exactly what changed. It undoes the gain of huge pages.
	TrackDirtyPages bool `json:"track_dirty_pages,omitempty"`
	// HugePages is None (default), 2M, or Transparent (since v1.17).
	HugePages string `json:"huge_pages,omitempty" since:"1.7" values:"Transparent=1.17"`
	// GDBSocketPath exists only in Firecracker builds with the gdb feature, which releases are not.
	GDBSocketPath string `json:"gdb_socket_path,omitempty" since:"1.10"`
}

// MachineConfigUpdate is the body of PATCH /machine-config: nil fields stay as
// they are. At least one must be set.
type MachineConfigUpdate struct {
	VCPUCount       *int    `json:"vcpu_count,omitempty"`
	MemSizeMiB      *int    `json:"mem_size_mib,omitempty" optional:"1.11"`
	SMT             *bool   `json:"smt,omitempty"`
	CPUTemplate     *string `json:"cpu_template,omitempty" values:"None=1.1 T2S=1.1.1 T2CL=1.3 T2A=1.3 V1N1=1.4"`
	TrackDirtyPages *bool   `json:"track_dirty_pages,omitempty" optional:"1.11"`
	HugePages       *string `json:"huge_pages,omitempty" since:"1.7" values:"Transparent=1.17"`
	GDBSocketPath   *string `json:"gdb_socket_path,omitempty" since:"1.10"`
}

// BootSource is the body of PUT /boot-source.
type BootSource struct {
	KernelImagePath string `json:"kernel_image_path"` // x86_64: uncompressed ELF; aarch64: PE image
	InitrdPath      string `json:"initrd_path,omitempty"`
	// BootArgs is the kernel command line, at most 2048 bytes with what Firecracker appends.
	// Empty means Firecracker's default, which has no serial console.
	BootArgs string `json:"boot_args,omitempty"`
}

// CPUConfig is the body of PUT /cpu-config: a custom CPU template.
type CPUConfig struct {
	KVMCapabilities []string           `json:"kvm_capabilities,omitempty" since:"1.5"` // "121" adds, "!121" removes
	CPUIDModifiers  []CPUIDModifier    `json:"cpuid_modifiers,omitempty"`              // x86_64
	MSRModifiers    []MSRModifier      `json:"msr_modifiers,omitempty"`                // x86_64
	RegModifiers    []RegisterModifier `json:"reg_modifiers,omitempty"`                // aarch64
	VCPUFeatures    []VCPUFeature      `json:"vcpu_features,omitempty" since:"1.5"`    // aarch64
}

// CPUIDModifier changes registers of one CPUID leaf.
type CPUIDModifier struct {
	Leaf      string                  `json:"leaf"`    // "0x1"
	Subleaf   string                  `json:"subleaf"` // "0x0"
	Flags     int                     `json:"flags"`   // KVM's CPUID flags
	Modifiers []CPUIDRegisterModifier `json:"modifiers"`
}

// CPUIDRegisterModifier sets bits of eax, ebx, ecx or edx.
type CPUIDRegisterModifier struct {
	Register string `json:"register"`
	Bitmap   string `json:"bitmap"` // "0b" and 32 of 0, 1, x (keep), _ (separator)
}

// MSRModifier sets bits of a model specific register.
type MSRModifier struct {
	Addr   string `json:"addr"`   // "0x10a"
	Bitmap string `json:"bitmap"` // 64 bits
}

// RegisterModifier sets bits of an aarch64 register.
type RegisterModifier struct {
	Addr   string `json:"addr"`
	Bitmap string `json:"bitmap"` // up to 128 bits
}

// VCPUFeature sets bits of a KVM vCPU feature word on aarch64.
type VCPUFeature struct {
	Index  int    `json:"index"`
	Bitmap string `json:"bitmap"` // 32 bits
}

// MemoryHotplugConfig is the body of PUT /hotplug/memory: a virtio-mem device.
type MemoryHotplugConfig struct {
	TotalSizeMiB int `json:"total_size_mib"`           // a multiple of the slot size
	SlotSizeMiB  int `json:"slot_size_mib,omitempty"`  // default 128; a multiple of the block size
	BlockSizeMiB int `json:"block_size_mib,omitempty"` // default 2; a power of two
}

// MemoryHotplugUpdate is the body of PATCH /hotplug/memory.
type MemoryHotplugUpdate struct {
	RequestedSizeMiB int `json:"requested_size_mib"` // a multiple of the block size; the guest follows in its own time
}

// MemoryHotplugStatus is the answer of GET /hotplug/memory.
type MemoryHotplugStatus struct {
	MemoryHotplugConfig
	PluggedSizeMiB   int `json:"plugged_size_mib"`
	RequestedSizeMiB int `json:"requested_size_mib"`
}
