package vmconfig

import (
	"fmt"
	"slices"

	"github.com/smartvm/smartvm/internal/strict"
)

// Limits is what a VM may take from its host: Firecracker and its guest together, and
// what the kernel does for them. What is left out has no limit. In a file nothing may
// be 0: a limit that somebody computed to be 0 is not the same as none.
//
// They are limits of a control group of version 2, which the host has to have.
type Limits struct {
	// CPU is how many cores may be used, on average over each 100 ms: 1.5 is one and a
	// half, 0.01 the least. The vCPUs share them with Firecracker's own threads.
	CPU float64 `json:"cpu,omitempty"`
	// CPUWeight is the share of the host's cores when there are too few of them: from 1 to
	// 10000, as against the 100 of a VM that says nothing.
	CPUWeight int `json:"cpu_weight,omitempty"`
	// MemoryMiB is the memory in MiB (2^20 bytes). A VM that takes more is killed. It must
	// hold all that the guest can have, and [MemoryOverheadMiB] beside it. Pages of
	// files that Firecracker reads and writes count, and give way when room is needed;
	// the huge pages of huge_pages 2M do not count.
	MemoryMiB int `json:"memory_mib,omitempty"`
	// PIDs is how many threads and processes may exist. Firecracker has one for each vCPU
	// and some more; the least is vcpu_count + 8.
	PIDs int `json:"pids,omitempty"`
	// IO limits reading and writing of drives.
	IO []IOLimit `json:"io,omitempty"`
}

// IOLimit limits the disk that a drive's file is on. The kernel knows disks, and not
// files: drives on the same disk share its limit, of several the strictest. A drive in
// memory (tmpfs), or from the network, has none. What is served from the page cache
// is not counted. A rate limiter of the drive is about what the guest asks for; this
// is about what the disk has to do.
type IOLimit struct {
	// DriveID is the drive. Default: all drives.
	DriveID string `json:"drive_id,omitempty"`
	// ReadBytesPerSecond and WriteBytesPerSecond are bytes per second.
	ReadBytesPerSecond  uint64 `json:"read_bytes_per_second,omitempty"`
	WriteBytesPerSecond uint64 `json:"write_bytes_per_second,omitempty"`
	// ReadOpsPerSecond and WriteOpsPerSecond are operations of the disk per second.
	ReadOpsPerSecond  uint32 `json:"read_ops_per_second,omitempty"`
	WriteOpsPerSecond uint32 `json:"write_ops_per_second,omitempty"`
}

// MemoryOverheadMiB is the memory, in MiB, that a VM needs beside that of its guest:
// 32 MiB for Firecracker, its jailer and the kernel's part of them, and a 128th of the
// guest's memory for page tables, of which Firecracker and KVM each have their own with 8
// bytes per page of 4 KiB.
func MemoryOverheadMiB(guestMiB int) int { return 32 + (guestMiB+127)/128 }

// GuestMiB is all the memory that the guest can have, in MiB: with what can be plugged in.
func (c *Config) GuestMiB() int {
	if c.MemoryHotplug == nil {
		return c.MemMiB()
	}
	return c.MemMiB() + c.MemoryHotplug.TotalSizeMiB
}

// What the kernel takes, and how little is of use.
const (
	minCPU    = 0.01    // cpu.max: 1 ms in 100 ms
	maxCPU    = 8192    // cores of the largest Linux, CONFIG_NR_CPUS
	maxWeight = 10_000  // cpu.weight
	sparePIDs = 8       // Firecracker's threads besides vCPUs, and the kernel's for it
	maxPIDs   = 1 << 22 // PID_MAX_LIMIT
)

func (f *faults) limits(c *Config) {
	l := c.Limits
	if l == nil {
		return
	}
	if l.CPU != 0 && !(l.CPU >= minCPU && l.CPU <= maxCPU) { // also what is no number
		f.Add("limits.cpu", "%v is not in %v..%v", l.CPU, minCPU, maxCPU)
	}
	if l.CPUWeight != 0 {
		f.between("limits.cpu_weight", l.CPUWeight, 1, maxWeight)
	}
	if l.MemoryMiB != 0 {
		f.memoryLimit(c)
	}
	if l.PIDs != 0 {
		vcpus := 1
		if c.MachineConfig != nil {
			vcpus = c.MachineConfig.VCPUCount
		}
		f.between("limits.pids", l.PIDs, vcpus+sparePIDs, maxPIDs)
	}
	f.ioLimits(c)
}

func (f *faults) memoryLimit(c *Config) {
	const field = "limits.memory_mib"
	limit, guest := c.Limits.MemoryMiB, c.GuestMiB()
	if limit > maxMemMiB || limit < 0 {
		f.between(field, limit, 1, maxMemMiB)
		return
	}
	if guest < 1 || guest > maxMemMiB { // a mistake of its own
		return
	}
	if least := guest + MemoryOverheadMiB(guest); limit < least {
		f.Add(field, "%d is less than %d: the guest can have %d MiB, and Firecracker needs %d MiB beside it", limit, least, guest, least-guest)
	}
}

func (f *faults) ioLimits(c *Config) {
	var known []string
	for i := range c.Drives {
		if c.Drives[i].Socket == "" {
			known = append(known, c.Drives[i].DriveID)
		}
	}
	seen, all := map[string]string{}, ""
	for i, l := range c.Limits.IO {
		field := fmt.Sprintf("limits.io[%d]", i)
		switch {
		case l.DriveID == "" && all != "":
			f.Add(field, "is about all drives, as is %s", all)
		case l.DriveID == "":
			all = field
			if len(known) == 0 {
				f.Add(field, "there is no drive that has a file")
			}
		case slices.ContainsFunc(c.Drives, func(d Drive) bool { return d.DriveID == l.DriveID && d.Socket != "" }):
			f.Add(field+".drive_id", "drive %s has a socket: what serves it reads and writes its file", strict.Quote(l.DriveID))
		case !slices.Contains(known, l.DriveID):
			f.Add(field+".drive_id", "there is no drive %s%s", strict.Quote(l.DriveID), strict.DidYouMean(l.DriveID, known))
		default:
			f.unique(seen, field+".drive_id", l.DriveID)
		}
		if l == (IOLimit{DriveID: l.DriveID}) {
			f.Add(field, "limits nothing: set read_bytes_per_second, write_bytes_per_second, read_ops_per_second or write_ops_per_second")
		}
	}
}
