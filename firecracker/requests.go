package firecracker

// The paths of the API. A device's path is its collection's and the device's id.
const (
	pathInfo           = "/"
	pathActions        = "/actions"
	pathBalloon        = "/balloon"
	pathBalloonStats   = "/balloon/statistics"
	pathHintingStart   = "/balloon/hinting/start"
	pathHintingStatus  = "/balloon/hinting/status"
	pathHintingStop    = "/balloon/hinting/stop"
	pathBootSource     = "/boot-source"
	pathCPUConfig      = "/cpu-config"
	pathDrives         = "/drives/"
	pathEntropy        = "/entropy"
	pathLogger         = "/logger"
	pathMachineConfig  = "/machine-config"
	pathMemoryHotplug  = "/hotplug/memory"
	pathMetrics        = "/metrics"
	pathMMDS           = "/mmds"
	pathMMDSConfig     = "/mmds/config"
	pathNetwork        = "/network-interfaces/"
	pathPmem           = "/pmem/"
	pathSerial         = "/serial"
	pathSnapshotCreate = "/snapshot/create"
	pathSnapshotLoad   = "/snapshot/load"
	pathVersion        = "/version"
	pathVM             = "/vm"
	pathVMConfig       = "/vm/config"
	pathVsock          = "/vsock"
)

func put(path string, body any) Request {
	return Request{Method: methodPut, Path: path, Body: body}
}

func patch(path string, body any) Request {
	return Request{Method: methodPatch, Path: path, Body: body}
}

func remove(path string) Request { return Request{Method: methodDelete, Path: path} }

func hotplug(r Request) Request {
	r.Hotplug = true
	return r
}

// PutMachineConfig sets vCPUs and memory; what m leaves out gets its default.
func PutMachineConfig(m MachineConfig) Request { return put(pathMachineConfig, m) }

// PatchMachineConfig changes only what m sets.
func PatchMachineConfig(m MachineConfigUpdate) Request { return patch(pathMachineConfig, m) }

// PutBootSource sets kernel, initrd and kernel arguments. Firecracker opens both files at once.
func PutBootSource(b BootSource) Request { return put(pathBootSource, b) }

// PutCPUConfig sets a custom CPU template.
func PutCPUConfig(c CPUConfig) Request { return put(pathCPUConfig, c) }

// PutDrive adds a drive before the boot, or replaces the one of the same id.
func PutDrive(d Drive) Request { return put(pathDrives+d.DriveID, d) }

// HotplugDrive adds a drive to a VM that has started with --enable-pci.
func HotplugDrive(d Drive) Request { return hotplug(PutDrive(d)) }

// PatchDrive gives a drive of a started VM another file or rate limiter.
func PatchDrive(d DriveUpdate) Request { return patch(pathDrives+d.DriveID, d) }

// DeleteDrive removes a drive from a started VM.
func DeleteDrive(id string) Request { return remove(pathDrives + id) }

// PutPmem adds a persistent memory device before the boot, or replaces the one of the same id.
func PutPmem(p Pmem) Request { return put(pathPmem+p.ID, p) }

// HotplugPmem adds a persistent memory device to a VM that has started with --enable-pci.
func HotplugPmem(p Pmem) Request { return hotplug(PutPmem(p)) }

// PatchPmem changes the rate limiter of a started VM's persistent memory device.
func PatchPmem(p PmemUpdate) Request { return patch(pathPmem+p.ID, p) }

// DeletePmem removes a persistent memory device from a started VM.
func DeletePmem(id string) Request { return remove(pathPmem + id) }

// PutNetworkInterface adds an interface before the boot, or replaces the one of
// the same id. Firecracker opens the TAP at once.
func PutNetworkInterface(n NetworkInterface) Request { return put(pathNetwork+n.IfaceID, n) }

// HotplugNetworkInterface adds an interface to a VM that has started with --enable-pci.
func HotplugNetworkInterface(n NetworkInterface) Request { return hotplug(PutNetworkInterface(n)) }

// PatchNetworkInterface changes the rate limiters of a started VM's interface.
func PatchNetworkInterface(n NetworkInterfaceUpdate) Request { return patch(pathNetwork+n.IfaceID, n) }

// DeleteNetworkInterface removes an interface from a started VM.
func DeleteNetworkInterface(id string) Request { return remove(pathNetwork + id) }

// PutVsock adds the vsock device. Firecracker binds its socket at once.
func PutVsock(v Vsock) Request { return put(pathVsock, v) }

// PutEntropy adds the virtio-rng device.
func PutEntropy(e Entropy) Request { return put(pathEntropy, e) }

// PutSerial says where the guest's serial output goes.
func PutSerial(s Serial) Request { return put(pathSerial, s) }

// PutMemoryHotplug adds the virtio-mem device.
func PutMemoryHotplug(m MemoryHotplugConfig) Request { return put(pathMemoryHotplug, m) }

// PatchMemoryHotplug asks the guest to plug or unplug memory.
func PatchMemoryHotplug(m MemoryHotplugUpdate) Request { return patch(pathMemoryHotplug, m) }

// PutBalloon adds the balloon device.
func PutBalloon(b Balloon) Request { return put(pathBalloon, b) }

// PatchBalloon changes the balloon's target size, once the guest's driver is up.
func PatchBalloon(b BalloonUpdate) Request { return patch(pathBalloon, b) }

// PatchBalloonStats changes how often the guest reports statistics.
func PatchBalloonStats(b BalloonStatsUpdate) Request { return patch(pathBalloonStats, b) }

// StartBalloonHinting starts one run of free page hinting.
func StartBalloonHinting(b BalloonHintingStart) Request { return patch(pathHintingStart, b) }

// StopBalloonHinting ends the run of free page hinting.
func StopBalloonHinting() Request { return patch(pathHintingStop, nil) }

// PutMMDSConfig says which interfaces answer metadata requests, and how. The
// interfaces must have been added before.
func PutMMDSConfig(m MMDSConfig) Request { return put(pathMMDSConfig, m) }

// PutMMDS replaces the metadata. Nil stands for no metadata.
func PutMMDS(m Metadata) Request { return put(pathMMDS, m.object()) }

// PatchMMDS merges m into the metadata as RFC 7396 says: null removes a key.
func PatchMMDS(m Metadata) Request { return patch(pathMMDS, m.object()) }

// PutLogger says where Firecracker logs, and how much.
func PutLogger(l Logger) Request { return put(pathLogger, l) }

// PutMetrics says where Firecracker writes its metrics.
func PutMetrics(m Metrics) Request { return put(pathMetrics, m) }

// StartInstance boots the VM.
func StartInstance() Request { return put(pathActions, Action{ActionInstanceStart}) }

// FlushMetrics writes a line of metrics now.
func FlushMetrics() Request { return put(pathActions, Action{ActionFlushMetrics}) }

// SendCtrlAltDel presses Ctrl+Alt+Del on the guest's keyboard. x86_64 only; the guest may ignore it.
func SendCtrlAltDel() Request { return put(pathActions, Action{ActionSendCtrlAltDel}) }

// Pause stops the vCPUs and all device I/O. Pausing twice is fine.
func Pause() Request { return patch(pathVM, VMState{StatePaused}) }

// Resume lets a paused VM run again.
func Resume() Request { return patch(pathVM, VMState{StateResumed}) }

// CreateSnapshot writes a paused VM's state and memory.
func CreateSnapshot(s SnapshotCreateParams) Request { return put(pathSnapshotCreate, s) }

// LoadSnapshot makes a fresh process continue a snapshot.
func LoadSnapshot(s SnapshotLoadParams) Request { return put(pathSnapshotLoad, s) }
