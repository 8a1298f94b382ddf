package firecracker

import (
	"net/http"
	"strings"
)

// Phase says when Firecracker accepts a call.
type Phase uint8

// The phases in the life of a Firecracker process.
const (
	AnyPhase   Phase = iota // before and after the boot
	BeforeBoot              // until the instance is started or a snapshot is loaded
	AfterBoot               // running or paused
	WhenPaused              // paused
)

// String returns "only before the boot" and its like.
func (p Phase) String() string {
	return [...]string{"at any time", "only before the boot", "only after the boot", "only while paused"}[p]
}

// Allows reports whether a VM in state s is in the phase.
func (p Phase) Allows(s InstanceState) bool {
	switch p {
	case BeforeBoot:
		return s == NotStarted
	case AfterBoot:
		return s == Running || s == Paused
	case WhenPaused:
		return s == Paused
	default:
		return true
	}
}

// Phase returns when Firecracker accepts the call; AnyPhase for one that this
// package does not know.
func (r Request) Phase() Phase {
	facts, _ := r.facts()
	return facts.phase
}

// endpoint names one call; the path of a device is that of its collection.
type endpoint struct{ method, path string }

// facts is what this package knows about an endpoint.
type facts struct {
	phase Phase
	since releases
	slow  bool   // takes as long as the disk does: no time-out of its own
	hint  string // what to look at when Firecracker refuses
}

// The methods of the API.
const (
	methodGet    = http.MethodGet
	methodPut    = http.MethodPut
	methodPatch  = http.MethodPatch
	methodDelete = http.MethodDelete
)

const (
	hintTAP      = "the TAP must exist and be free"
	hintHotplug  = "hot-plug needs a Firecracker that was started with --enable-pci"
	hintBalloon  = "the balloon must have been configured before the boot and the guest's driver be up"
	hintHinting  = "the balloon must have free page hinting, and the guest's driver be up"
	hintMMDS     = "the metadata may be larger than --mmds-size-limit"
	hintNoMMDS   = hintMMDS + "; since v1.15 an interface has to have the metadata service (mmds-config)"
	hintVirtio   = "hot-pluggable memory must have been configured before the boot and the guest's driver be up"
	hintUnmerged = "the metadata must have been set before it can be merged"
)

// endpoints is Firecracker's API: request/*.rs and rpc_interface.rs in its
// source. The DELETE calls are not in its swagger file.
var endpoints = map[endpoint]facts{
	{methodGet, pathInfo}:     {},
	{methodGet, pathVersion}:  {},
	{methodGet, pathVMConfig}: {},

	{methodGet, pathMachineConfig}:   {},
	{methodPut, pathMachineConfig}:   {phase: BeforeBoot},
	{methodPatch, pathMachineConfig}: {phase: BeforeBoot},
	{methodPut, pathBootSource}:      {phase: BeforeBoot},
	{methodPut, pathCPUConfig}:       {phase: BeforeBoot, since: minor(4)},

	{methodPut, pathDrives}:     {phase: BeforeBoot},
	{methodPatch, pathDrives}:   {phase: AfterBoot},
	{methodDelete, pathDrives}:  {phase: AfterBoot, since: minor(16), hint: hintHotplug},
	{methodPut, pathPmem}:       {phase: BeforeBoot, since: minor(14)},
	{methodPatch, pathPmem}:     {phase: AfterBoot, since: minor(16)},
	{methodDelete, pathPmem}:    {phase: AfterBoot, since: minor(16), hint: hintHotplug},
	{methodPut, pathNetwork}:    {phase: BeforeBoot, hint: hintTAP},
	{methodPatch, pathNetwork}:  {phase: AfterBoot},
	{methodDelete, pathNetwork}: {phase: AfterBoot, since: minor(16), hint: hintHotplug},

	{methodPut, pathVsock}:   {phase: BeforeBoot, hint: "nothing may exist at the vsock's path"},
	{methodPut, pathEntropy}: {phase: BeforeBoot, since: minor(4)},
	{methodPut, pathSerial}:  {phase: BeforeBoot, since: minor(14)},

	{methodPut, pathBalloon}:        {phase: BeforeBoot, hint: "the target can't be above the guest's memory, which is set first"},
	{methodGet, pathBalloon}:        {hint: "the VM has no balloon"},
	{methodPatch, pathBalloon}:      {phase: AfterBoot, hint: hintBalloon},
	{methodGet, pathBalloonStats}:   {phase: AfterBoot, hint: "statistics must have been switched on before the boot"},
	{methodPatch, pathBalloonStats}: {phase: AfterBoot, hint: "statistics can't be switched on or off after the boot"},
	{methodPatch, pathHintingStart}: {phase: AfterBoot, since: minor(14), hint: hintHinting},
	{methodGet, pathHintingStatus}:  {phase: AfterBoot, since: minor(14), hint: hintHinting},
	{methodPatch, pathHintingStop}:  {phase: AfterBoot, since: minor(14), hint: hintHinting},

	{methodPut, pathMemoryHotplug}:   {phase: BeforeBoot, since: minor(14)},
	{methodPatch, pathMemoryHotplug}: {phase: AfterBoot, since: minor(14), hint: hintVirtio},
	{methodGet, pathMemoryHotplug}:   {phase: AfterBoot, since: minor(14), hint: hintVirtio},

	{methodPut, pathMMDSConfig}: {phase: BeforeBoot, hint: "the interfaces must have been added before"},
	{methodPut, pathMMDS}:       {hint: hintNoMMDS},
	{methodPatch, pathMMDS}:     {hint: hintUnmerged},
	{methodGet, pathMMDS}:       {hint: "no interface of this VM serves metadata"},

	{methodPut, pathLogger}:  {phase: BeforeBoot, hint: "the log file must exist before v1.14"},
	{methodPut, pathMetrics}: {phase: BeforeBoot, hint: "metrics can be configured once, and their file must exist before v1.14"},

	{methodPut, pathSnapshotCreate}: {phase: WhenPaused, slow: true},
	{methodPut, pathSnapshotLoad}:   {phase: BeforeBoot, slow: true, hint: "a process whose load failed is of no use any more: start another one"},
	{methodPatch, pathVM}:           {phase: AfterBoot},
	{methodPut, pathActions}:        {phase: AfterBoot},
}

// Calls whose facts depend on more than method and path.
var (
	startFacts   = facts{phase: BeforeBoot, hint: "check the kernel: x86_64 boots an uncompressed ELF image, aarch64 a PE image"}
	hotplugFacts = facts{phase: AfterBoot, since: minor(16), hint: hintHotplug}
)

// facts returns what is known about the call, and whether anything is.
func (r Request) facts() (facts, bool) {
	if r.Hotplug {
		return hotplugFacts, true
	}
	if r.isStart() {
		return startFacts, true
	}
	f, ok := endpoints[endpoint{r.Method, collection(r.Path)}]
	return f, ok
}

func (r Request) isStart() bool {
	a, ok := r.Body.(Action)
	return ok && a.ActionType == ActionInstanceStart && r.Path == pathActions
}

// collection returns "/drives/" for "/drives/rootfs" and any other path as it is.
func collection(path string) string {
	for _, c := range [...]string{pathDrives, pathPmem, pathNetwork} {
		if strings.HasPrefix(path, c) {
			return c
		}
	}
	return path
}
