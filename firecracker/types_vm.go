package firecracker

// VMConfig is the answer of GET /vm/config: the configuration in effect. What
// the VM does not have is nil. Firecracker never fills in CPUConfig, Logger and
// Metrics, knows nothing of the serial console here, and leaves BootSource
// empty for a VM from a snapshot.
type VMConfig struct {
	BootSource        BootSource           `json:"boot-source"`
	MachineConfig     *MachineConfig       `json:"machine-config"`
	CPUConfig         *CPUConfig           `json:"cpu-config"`
	Drives            []Drive              `json:"drives"`
	Pmem              []Pmem               `json:"pmem"`
	NetworkInterfaces []NetworkInterface   `json:"network-interfaces"`
	Vsock             *Vsock               `json:"vsock"`
	Balloon           *Balloon             `json:"balloon"`
	Entropy           *Entropy             `json:"entropy"`
	MemoryHotplug     *MemoryHotplugConfig `json:"memory-hotplug"`
	MMDSConfig        *MMDSConfig          `json:"mmds-config"`
	Logger            *Logger              `json:"logger"`
	Metrics           *Metrics             `json:"metrics"`
}
