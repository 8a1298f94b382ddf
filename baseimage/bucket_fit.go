package baseimage

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/strict"
)

// series is a line of Linux kernels, such as 6.1.
type series struct{ major, minor int }

// String returns "6.1".
func (s series) String() string { return fmt.Sprintf("%d.%d", s.major, s.minor) }

// guestKernels says since which release Firecracker supports a series of guest
// kernels: the table "Guest Kernel" of its docs/kernel-policy.md, as of 2026-08.
// 4.14, which v1.11 was the last to list, is missing: wherever the bucket has it,
// there is 5.10 too. A series that is not here is not chosen.
var guestKernels = []struct {
	series series
	since  firecracker.Version
}{
	{series{5, 10}, firecracker.Version{Major: 1}},
	{series{6, 1}, firecracker.Version{Major: 1, Minor: 9}},
	{series{6, 18}, firecracker.Version{Major: 1, Minor: 16, Patch: 1}},
}

// supported returns the series of guest kernels that v supports.
func supported(v firecracker.Version) []series {
	var out []series
	for _, k := range guestKernels {
		if v.Compare(k.since) >= 0 {
			out = append(out, k.series)
		}
	}
	return out
}

// What the bucket's files are called. The rest of what is there is of no use:
// vmlinux-5.10.245-no-acpi, vmlinux-6.1.155.config and .debug, bzImage-6.1.155,
// which only newer Firecrackers boot, initramfs.cpio, a root file system of
// another distribution.
var (
	kernelName = regexp.MustCompile(`^vmlinux-([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})$`)
	rootfsName = regexp.MustCompile(`^ubuntu-([0-9]{1,4})\.([0-9]{1,4})\.(squashfs|ext4)$`)
)

// Their patterns in words.
const (
	kernelWords = "vmlinux-X.Y.Z"
	rootfsWords = "ubuntu-X.Y.squashfs or ubuntu-X.Y.ext4"
)

// refused is a file that was not taken, and why.
type refused struct{ name, reason string }

// choice is the best kernel and root file system of a prefix.
type choice struct {
	kernel, rootfs *object
	rootfsType     RootfsType
	refused        []refused // of the right name
	others         []refused // of a similar name
}

// choose picks the highest kernel of the series, and the highest root file system,
// where squashfs goes before ext4. Versions are compared by number.
func choose(objects []object, v firecracker.Version) choice {
	var c choice
	var bestKernel, bestRootfs []int
	allowed := supported(v)
	for i := range objects {
		o := &objects[i]
		name := o.name()
		if version := kernelVersion(name); version != nil {
			if c.refuse(o, kernelFault(version, allowed)) {
				continue
			}
			if slices.Compare(version, bestKernel) > 0 {
				c.kernel, bestKernel = o, version
			}
			continue
		}
		if rank, t := rootfsRank(name); rank != nil {
			if !c.refuse(o, "") && slices.Compare(rank, bestRootfs) > 0 {
				c.rootfs, c.rootfsType, bestRootfs = o, t, rank
			}
			continue
		}
		if similar(name) {
			if !fileNamePattern.MatchString(name) {
				name = strict.Quote(name)
			}
			c.others = append(c.others, refused{name, "its name does not fit"})
		}
	}
	return c
}

// refuse reports whether the object can't be taken, for the given reason if it is
// not empty.
func (c *choice) refuse(o *object, reason string) bool {
	if reason == "" && o.Size == 0 {
		reason = "it is empty"
	}
	if reason != "" {
		c.refused = append(c.refused, refused{o.name(), reason})
	}
	return reason != ""
}

// kernelVersion returns nil for what is not the name of a kernel.
func kernelVersion(name string) []int {
	m := kernelName.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	return numbers(m[1:])
}

// kernelFault says why Firecracker can't boot a kernel, "" if it can.
func kernelFault(version []int, allowed []series) string {
	s := series{version[0], version[1]}
	if slices.Contains(allowed, s) {
		return ""
	}
	for _, k := range guestKernels {
		if k.series == s {
			return fmt.Sprintf("guest kernel %v needs Firecracker %v or newer", s, k.since)
		}
	}
	return fmt.Sprintf("guest kernel %v is in no list of supported ones", s)
}

// rootfsRank returns what root file systems are compared by, nil for what is not
// the name of one.
func rootfsRank(name string) ([]int, RootfsType) {
	m := rootfsName.FindStringSubmatch(name)
	if m == nil {
		return nil, ""
	}
	t := RootfsType(m[3])
	preference := 0
	if t == Squashfs {
		preference = 1
	}
	return append([]int{preference}, numbers(m[1:3])...), t
}

func numbers(texts []string) []int {
	out := make([]int, len(texts))
	for i, text := range texts {
		out[i], _ = strconv.Atoi(text) // the pattern has digits only, few of them
	}
	return out
}

// similar reports whether a name helps to understand why nothing was found.
func similar(name string) bool {
	if strings.HasSuffix(name, ".config") || strings.HasSuffix(name, ".debug") {
		return false
	}
	return strings.HasPrefix(name, "vmlinux") || strings.HasPrefix(name, "bzImage") ||
		strings.HasSuffix(name, ".squashfs") || strings.HasSuffix(name, ".ext4")
}
