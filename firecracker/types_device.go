package firecracker

// TokenBucket limits one resource. A bucket of size 0 in an update switches that limit off.
type TokenBucket struct {
	Size         uint64 `json:"size"`                     // bytes, or operations
	RefillTime   uint64 `json:"refill_time"`              // milliseconds for a full refill
	OneTimeBurst uint64 `json:"one_time_burst,omitempty"` // spent first, never refilled
}

// RateLimiter limits bytes and operations; a nil bucket is no limit, and no change in an update.
type RateLimiter struct {
	Bandwidth *TokenBucket `json:"bandwidth,omitempty"`
	Ops       *TokenBucket `json:"ops,omitempty"`
}

// Drive is the body of PUT /drives/{drive_id}: a virtio block device.
type Drive struct {
	DriveID      string `json:"drive_id"`                              // letters, digits, underscore
	PathOnHost   string `json:"path_on_host,omitempty" optional:"1.6"` // raw image; required unless Socket is set
	IsRootDevice bool   `json:"is_root_device"`                        // becomes /dev/vda and the kernel's root=
	IsReadOnly   bool   `json:"is_read_only,omitempty" optional:"1.6"` // the guest can't write
	PartUUID     string `json:"partuuid,omitempty"`                    // root=PARTUUID=..., root device only
	CacheType    string `json:"cache_type,omitempty"`                  // Unsafe (default) or Writeback (flushes reach the disk)
	IOEngine     string `json:"io_engine,omitempty"`                   // Sync (default) or Async (io_uring, preview)
	Socket       string `json:"socket,omitempty" since:"1.6"`          // vhost-user-blk backend, instead of a file (preview)

	RateLimiter *RateLimiter `json:"rate_limiter,omitempty"`
}

// DriveUpdate is the body of PATCH /drives/{drive_id}. With nothing but the id,
// a vhost-user drive reads its configuration again.
type DriveUpdate struct {
	DriveID     string       `json:"drive_id"`
	PathOnHost  string       `json:"path_on_host,omitempty"`
	RateLimiter *RateLimiter `json:"rate_limiter,omitempty"`
}

// Pmem is the body of PUT /pmem/{id}: a virtio persistent memory device.
type Pmem struct {
	ID          string       `json:"id"`
	PathOnHost  string       `json:"path_on_host"`
	RootDevice  bool         `json:"root_device,omitempty"`
	ReadOnly    bool         `json:"read_only,omitempty"`
	RateLimiter *RateLimiter `json:"rate_limiter,omitempty" since:"1.16"`
}

// PmemUpdate is the body of PATCH /pmem/{id}.
type PmemUpdate struct {
	ID          string       `json:"id"`
	RateLimiter *RateLimiter `json:"rate_limiter,omitempty"`
}

// NetworkInterface is the body of PUT /network-interfaces/{iface_id}.
type NetworkInterface struct {
	IfaceID       string       `json:"iface_id"`                   // letters, digits, underscore
	HostDevName   string       `json:"host_dev_name"`              // TAP; Firecracker as root makes a missing one, so check first
	GuestMAC      string       `json:"guest_mac,omitempty"`        // unique in the VM
	MTU           int          `json:"mtu,omitempty" since:"1.16"` // 68..65535
	RxRateLimiter *RateLimiter `json:"rx_rate_limiter,omitempty"`  // towards the guest
	TxRateLimiter *RateLimiter `json:"tx_rate_limiter,omitempty"`  // from the guest
}

// NetworkInterfaceUpdate is the body of PATCH /network-interfaces/{iface_id}.
type NetworkInterfaceUpdate struct {
	IfaceID       string       `json:"iface_id"`
	RxRateLimiter *RateLimiter `json:"rx_rate_limiter,omitempty"`
	TxRateLimiter *RateLimiter `json:"tx_rate_limiter,omitempty"`
}

// Vsock is the body of PUT /vsock. Firecracker binds UDSPath at once and never removes it.
type Vsock struct {
	GuestCID uint32 `json:"guest_cid"`          // at least 3
	UDSPath  string `json:"uds_path"`           // host end; at most 107 bytes with "_PORT" for guest connections
	VsockID  string `json:"vsock_id,omitempty"` // deprecated and ignored
}

// Balloon is the body of PUT and the answer of GET /balloon.
type Balloon struct {
	AmountMiB             int  `json:"amount_mib"`                         // target size; at most the guest's memory
	DeflateOnOOM          bool `json:"deflate_on_oom"`                     // give memory back rather than kill guest processes
	StatsPollingIntervalS int  `json:"stats_polling_interval_s,omitempty"` // seconds, 0 = no statistics
	FreePageHinting       bool `json:"free_page_hinting,omitempty" since:"1.14"`
	FreePageReporting     bool `json:"free_page_reporting,omitempty" since:"1.14"`
}

// BalloonUpdate is the body of PATCH /balloon.
type BalloonUpdate struct {
	AmountMiB int `json:"amount_mib"`
}

// BalloonStatsUpdate is the body of PATCH /balloon/statistics. The interval can't change between 0 and another value.
type BalloonStatsUpdate struct {
	StatsPollingIntervalS int `json:"stats_polling_interval_s"`
}

// BalloonStats is the answer of GET /balloon/statistics. What the guest has not reported is nil.
type BalloonStats struct {
	TargetPages int `json:"target_pages"` // 4 KiB pages
	ActualPages int `json:"actual_pages"`
	TargetMiB   int `json:"target_mib"`
	ActualMiB   int `json:"actual_mib"`

	SwapIn             *uint64 `json:"swap_in,omitempty"`
	SwapOut            *uint64 `json:"swap_out,omitempty"`
	MajorFaults        *uint64 `json:"major_faults,omitempty"`
	MinorFaults        *uint64 `json:"minor_faults,omitempty"`
	FreeMemory         *uint64 `json:"free_memory,omitempty"`
	TotalMemory        *uint64 `json:"total_memory,omitempty"`
	AvailableMemory    *uint64 `json:"available_memory,omitempty"`
	DiskCaches         *uint64 `json:"disk_caches,omitempty"`
	HugetlbAllocations *uint64 `json:"hugetlb_allocations,omitempty"`
	HugetlbFailures    *uint64 `json:"hugetlb_failures,omitempty"`
	OOMKill            *uint64 `json:"oom_kill,omitempty" since:"1.14"`
	AllocStall         *uint64 `json:"alloc_stall,omitempty" since:"1.14"`
	AsyncScan          *uint64 `json:"async_scan,omitempty" since:"1.14"`
	DirectScan         *uint64 `json:"direct_scan,omitempty" since:"1.14"`
	AsyncReclaim       *uint64 `json:"async_reclaim,omitempty" since:"1.14"`
	DirectReclaim      *uint64 `json:"direct_reclaim,omitempty" since:"1.14"`
}

// BalloonHintingStart is the body of PATCH /balloon/hinting/start.
type BalloonHintingStart struct {
	// AcknowledgeOnStop ends the run when the guest has reported all; nil is Firecracker's default, true.
	AcknowledgeOnStop *bool `json:"acknowledge_on_stop,omitempty"`
}

// BalloonHintingStatus is the answer of GET /balloon/hinting/status.
type BalloonHintingStatus struct {
	HostCmd  uint32  `json:"host_cmd"`
	GuestCmd *uint32 `json:"guest_cmd"`
}

// Entropy is the body of PUT /entropy: a virtio-rng device.
type Entropy struct {
	RateLimiter *RateLimiter `json:"rate_limiter,omitempty"`
}

// Serial is the body of PUT /serial.
type Serial struct {
	SerialOutPath string       `json:"serial_out_path,omitempty"`
	RateLimiter   *TokenBucket `json:"rate_limiter,omitempty" since:"1.16"` // bytes; what exceeds it is dropped
}
