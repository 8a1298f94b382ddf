package cgroup

import (
	"fmt"
	"math"
	"strconv"
)

// Limits are what the processes of a group may take, all of them together. Zero
// means no limit.
type Limits struct {
	// CPU is in cores: 1.5 is one and a half. The least is 0.01 ([MinCPU]).
	CPU float64
	// CPUWeight is the share of cores when there are too few, from 1 to 10000, as
	// against 100 of others.
	CPUWeight uint64
	// Memory is in bytes, rounded down to pages by the kernel. It covers page cache and
	// memory of the kernel as well, but no huge pages of hugetlbfs. Who exceeds it is
	// killed, with all of the group. Swap is not used beside it.
	Memory uint64
	// MemoryHigh is in bytes: above it processes are slowed down, and give memory back
	// if they can. Without swap the memory of a guest is none that can be given back.
	MemoryHigh uint64
	// PIDs counts threads: it is how many tasks may be there.
	PIDs uint64
	// IO has a limit for each disk.
	IO []DiskLimit
}

// MinCPU is the least number of cores: 1 ms, the kernel's least quota, in each period.
const MinCPU = 0.01

// period of cpu.max, in microseconds: the kernel's default.
const period = 100_000

// controllers names those that the limits need.
func (l *Limits) controllers() []string {
	var names []string
	if l.CPU > 0 || l.CPUWeight > 0 {
		names = append(names, "cpu")
	}
	if len(l.IO) > 0 {
		names = append(names, "io")
	}
	// What is written through the page cache is known to be the group's only where the
	// memory controller knows whose pages they are.
	if l.Memory > 0 || l.MemoryHigh > 0 || len(l.IO) > 0 {
		names = append(names, "memory")
	}
	if l.PIDs > 0 {
		names = append(names, "pids")
	}
	return names
}

// setting is a value for a file of a group.
type setting struct {
	file, value string
	optional    bool // the file is not there in every kernel, and it works without
}

// settings returns what is to be written, in this order.
func (l *Limits) settings() []setting {
	var out []setting
	number := func(file string, value uint64) {
		if value > 0 {
			out = append(out, setting{file: file, value: strconv.FormatUint(value, 10)})
		}
	}
	if l.CPU > 0 {
		out = append(out, setting{file: "cpu.max", value: fmt.Sprintf("%.0f %d", max(math.Round(l.CPU*period), MinCPU*period), period)})
	}
	number("cpu.weight", l.CPUWeight)
	number("memory.high", l.MemoryHigh)
	number("memory.max", l.Memory)
	if l.Memory > 0 {
		out = append(out,
			setting{file: "memory.swap.max", value: "0", optional: true}, // without swap in the kernel there is no file
			// Half a VM is of no use: the kernel takes all of the group, or nothing.
			setting{file: "memory.oom.group", value: "1"})
	}
	number("pids.max", l.PIDs)
	for _, d := range strictest(l.IO) {
		out = append(out, setting{file: "io.max", value: d.String()})
	}
	return out
}
