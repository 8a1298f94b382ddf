package baseimage

import "github.com/smartvm/smartvm/firecracker"

// Preset says where a bundle comes from.
type Preset string

// The presets.
const (
	// Latest is the newest Firecracker release, with the newest kernel and root
	// file system of Firecracker's CI that fit it.
	Latest Preset = "latest"
	// LTS is the pinned train v1.7: Firecracker v1.7.0 and what its CI used.
	LTS Preset = "lts"
	// Hosted is what a manifest describes, given by URL or path.
	Hosted Preset = "hosted"
)

// ltsVersion is the Firecracker release of [LTS].
var ltsVersion = firecracker.Version{Major: 1, Minor: 7}

// RootfsType is the file system of a root drive.
type RootfsType string

// The root file systems that bundles may have.
const (
	// Squashfs is compressed and can't be written to.
	Squashfs RootfsType = "squashfs"
	// Ext4 may be writable.
	Ext4 RootfsType = "ext4"
)

// DefaultBootArgs returns the kernel arguments for a root file system of type
// t: a serial console, an immediate end at a panic, and "ro" or "rw". They are
// the same for both architectures. Squashfs is always read-only.
func DefaultBootArgs(t RootfsType, readOnly bool) string {
	const common = "console=ttyS0 reboot=k panic=1 pci=off"
	switch {
	case t == Squashfs:
		return common + " ro rootfstype=squashfs"
	case readOnly:
		return common + " ro"
	default:
		return common + " rw"
	}
}
