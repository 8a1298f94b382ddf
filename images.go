package smartvm

import (
	"context"
	"path/filepath"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/snapshot"
	"github.com/smartvm/smartvm/vmconfig"
)

// Progress is told how long downloads go on; see [Options].
type Progress = fetch.Progress

// ProgressTask is one download that a [Progress] shows.
type ProgressTask = fetch.Task

// baseImagesName is the default cache of base images below the data directory.
const baseImagesName = "base-images"

// openStores makes the stores of images.
func (m *Manager) openStores() (err error) {
	o := &m.opts
	m.images, err = image.NewStore(image.Options{
		DataDir: m.DataDir(), Arch: o.Arch, ReleaseURL: o.ReleaseURL, Offline: o.Offline, Progress: o.Progress, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	if o.BaseImageDir == "" {
		o.BaseImageDir = filepath.Join(m.DataDir(), baseImagesName)
	}
	if o.BaseImageDir, err = filepath.Abs(o.BaseImageDir); err != nil {
		return err
	}
	if target, err := filepath.EvalSymlinks(o.BaseImageDir); err == nil {
		o.BaseImageDir = target // as the paths of bundles have it: see pinImages
	}
	m.baseImages, err = baseimage.Open(baseimage.Options{
		CacheDir: o.BaseImageDir, Arch: o.Arch, Retention: o.BaseImageRetention, Manifest: o.BaseImageManifest, BucketURL: o.BucketURL,
		LatestVersion: m.latestVersion, Offline: o.Offline, Progress: o.Progress, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	m.snapshots, err = snapshot.Open(snapshot.Options{Dir: filepath.Join(m.DataDir(), snapshotsName), Logger: o.Logger})
	return err
}

// snapshotsName is the directory below the data directory.
const snapshotsName = "snapshots"

// Snapshots returns the store of snapshots below the data directory.
func (m *Manager) Snapshots() *snapshot.Store { return m.snapshots }

// latestVersion is the Firecracker that the preset latest is for: the newest
// release, unless the options have one of their own.
func (m *Manager) latestVersion(ctx context.Context) (firecracker.Version, error) {
	switch {
	case !m.opts.FirecrackerVersion.IsZero():
		return m.opts.FirecrackerVersion, nil
	case m.opts.FirecrackerPath != "":
		b, err := m.EnsureBinary(ctx)
		return b.Version, err
	default:
		return m.images.LatestVersion(ctx)
	}
}

// Images returns the store of Firecracker releases, kernels and root file systems
// below the data directory. It is valid as long as the manager.
func (m *Manager) Images() *image.Store { return m.images }

// BaseImages returns the cache of bootable bundles. It is valid until Close.
func (m *Manager) BaseImages() *baseimage.Store { return m.baseImages }

// EnsureBaseImage returns a bundle that can be booted: kernel, root file system,
// perhaps an initrd, and the boot arguments that go with them. It is fetched if the
// cache lacks it, and verified in any case; see [baseimage.Store.Ensure]. The bundle
// stays in the cache until the manager is closed, and from the start of a VM that
// uses it until that VM is cleaned up.
func (m *Manager) EnsureBaseImage(ctx context.Context, req baseimage.Request) (*baseimage.Bundle, error) {
	return m.baseImages.Ensure(ctx, req)
}

// ImageConfig returns a configuration that boots a bundle on the Firecracker that
// it is for, with its initrd if it has one. Its root drive has the id rootfs.
func ImageConfig(b *baseimage.Bundle) vmconfig.Config {
	return vmconfig.Config{
		BootSource:         firecracker.BootSource{KernelImagePath: b.Kernel.Path, InitrdPath: b.Initrd.Path, BootArgs: b.BootArgs},
		FirecrackerVersion: b.FirecrackerVersion,
		Drives: []vmconfig.Drive{{Drive: firecracker.Drive{
			DriveID: "rootfs", PathOnHost: b.Rootfs.Path, IsRootDevice: true, IsReadOnly: b.RootfsIsReadOnly,
		}}},
	}
}
