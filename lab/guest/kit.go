package guest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

// Kit is a directory with what guests boot from: squashfs/ and ext4/, a bundle each,
// as image pack makes them. Its initrd loads what Debian's kernel has as modules.
type Kit string

// Manifest is the path of the manifest of a bundle.
func (k Kit) Manifest(t baseimage.RootfsType) string {
	return filepath.Join(string(k), string(t), "manifest.json")
}

// RootID is the id of the root drive in a [Kit.Config].
const RootID = "rootfs"

// Config returns a configuration that boots a bundle of the kit where it lies. Its
// root drive has the id [RootID], and is first among the drives.
func (k Kit) Config(t baseimage.RootfsType) (vmconfig.Config, error) {
	text, err := os.ReadFile(k.Manifest(t))
	if err != nil {
		return vmconfig.Config{}, err
	}
	m, err := baseimage.ParseManifest(text)
	if err != nil {
		return vmconfig.Config{}, fmt.Errorf("%s: %w", k.Manifest(t), err)
	}
	file := func(a baseimage.ArtifactManifest) string { return filepath.Join(string(k), string(t), a.FileName) }
	return vmconfig.Config{
		BootSource: firecracker.BootSource{KernelImagePath: file(m.Kernel), InitrdPath: file(m.Initrd), BootArgs: m.BootArgs},
		Drives: []vmconfig.Drive{{Drive: firecracker.Drive{
			DriveID: RootID, PathOnHost: file(m.Rootfs), IsRootDevice: true, IsReadOnly: m.RootfsIsReadOnly,
		}}},
	}, nil
}
