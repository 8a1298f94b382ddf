package firecracker

// Logger is the body of PUT /logger.
type Logger struct {
	LogPath       string `json:"log_path,omitempty" optional:"1.5"`          // file or FIFO; must exist before v1.14
	Level         string `json:"level,omitempty" values:"Trace=1.5 Off=1.5"` // Off, Error, Warning, Info (default), Debug, Trace
	ShowLevel     bool   `json:"show_level,omitempty"`                       // default false
	ShowLogOrigin bool   `json:"show_log_origin,omitempty"`                  // default false
	Module        string `json:"module,omitempty" since:"1.6"`               // only messages of modules with this prefix
}

// Metrics is the body of PUT /metrics. A process accepts it once.
type Metrics struct {
	MetricsPath string            `json:"metrics_path"` // file or FIFO; must exist before v1.14
	EmitID      bool              `json:"emit_id,omitempty" since:"1.17"`
	Properties  map[string]string `json:"properties,omitempty" since:"1.17"`
}

// MMDSConfig is the body of PUT /mmds/config.
type MMDSConfig struct {
	NetworkInterfaces []string `json:"network_interfaces"`     // ids of existing interfaces, at least one
	Version           string   `json:"version,omitempty"`      // V1 (default, deprecated) or V2
	IPv4Address       string   `json:"ipv4_address,omitempty"` // link-local; default 169.254.169.254
	IMDSCompat        bool     `json:"imds_compat,omitempty" since:"1.13"`
}

// Metadata is the MMDS data store: any JSON object.
type Metadata map[string]any

// object returns m, and an empty object for nil, which would be sent as null.
func (m Metadata) object() Metadata {
	if m == nil {
		return Metadata{}
	}
	return m
}

// InstanceInfo is the answer of GET /.
type InstanceInfo struct {
	ID         string        `json:"id"`
	State      InstanceState `json:"state"`
	VMMVersion string        `json:"vmm_version"`
	AppName    string        `json:"app_name"`
}

// InstanceState is Firecracker's own view of the microVM.
type InstanceState string

// The states that Firecracker reports.
const (
	NotStarted InstanceState = "Not started"
	Running    InstanceState = "Running"
	Paused     InstanceState = "Paused"
)

// ActionType is what PUT /actions can do.
type ActionType string

// The actions.
const (
	ActionInstanceStart  ActionType = "InstanceStart"  // once, before the boot
	ActionFlushMetrics   ActionType = "FlushMetrics"   // after the boot
	ActionSendCtrlAltDel ActionType = "SendCtrlAltDel" // after the boot, x86_64 only
)

// Action is the body of PUT /actions.
type Action struct {
	ActionType ActionType `json:"action_type"`
}

// VMState is the body of PATCH /vm.
type VMState struct {
	State string `json:"state"` // StatePaused or StateResumed
}

// The states that PATCH /vm accepts.
const (
	StatePaused  = "Paused"
	StateResumed = "Resumed"
)

// SnapshotType says what a snapshot's memory file holds.
type SnapshotType string

// The kinds of snapshot.
const (
	FullSnapshot SnapshotType = "Full" // default
	DiffSnapshot SnapshotType = "Diff" // only pages changed since the last one
)

// SnapshotCreateParams is the body of PUT /snapshot/create.
type SnapshotCreateParams struct {
	SnapshotPath string       `json:"snapshot_path"`
	MemFilePath  string       `json:"mem_file_path"`
	SnapshotType SnapshotType `json:"snapshot_type,omitempty"`
}

// SnapshotLoadParams is the body of PUT /snapshot/load. A failed load ends the process.
type SnapshotLoadParams struct {
	SnapshotPath string         `json:"snapshot_path"`
	MemBackend   *MemoryBackend `json:"mem_backend,omitempty" since:"1.1"`
	// MemFilePath is the deprecated form of a File backend; exactly one of the two is set.
	MemFilePath         string            `json:"mem_file_path,omitempty"`
	EnableDiffSnapshots bool              `json:"enable_diff_snapshots,omitempty"` // until v1.12; deprecated since
	TrackDirtyPages     bool              `json:"track_dirty_pages,omitempty" since:"1.13"`
	ResumeVM            bool              `json:"resume_vm,omitempty"`
	NetworkOverrides    []NetworkOverride `json:"network_overrides,omitempty" since:"1.12"`
	ClockRealtime       bool              `json:"clock_realtime,omitempty" since:"1.14.4,1.15.1"`
	VsockOverride       *VsockOverride    `json:"vsock_override,omitempty" since:"1.16"`
	HugePages           string            `json:"huge_pages,omitempty" since:"1.17"` // Snapshot (default), None, Transparent, 2M
}

// MemoryBackend says where a loaded snapshot's memory comes from.
type MemoryBackend struct {
	BackendType string `json:"backend_type"` // File or Uffd
	BackendPath string `json:"backend_path"` // memory file, or the page server's socket
}

// NetworkOverride gives an interface of a snapshot another TAP.
type NetworkOverride struct {
	IfaceID     string `json:"iface_id"`
	HostDevName string `json:"host_dev_name"`
}

// VsockOverride gives the vsock of a snapshot another socket.
type VsockOverride struct {
	UDSPath string `json:"uds_path"`
}

// VersionInfo is the answer of GET /version.
type VersionInfo struct {
	FirecrackerVersion string `json:"firecracker_version"` // without the leading v
}
