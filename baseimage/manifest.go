package baseimage

import "github.com/smartvm/smartvm/firecracker"

// Manifest describes a bundle that somebody hosts. Its JSON is the file that is
// hosted, the format of which is assets/base-images/manifest.schema.json.
type Manifest struct {
	// SchemaVersion is the version of the format; 1 is the only one so far.
	SchemaVersion int `json:"schemaVersion"`
	// BundleID names the bundle in the cache: 1 to 128 letters, digits, '.', '_'
	// and '-', beginning with a letter or digit.
	BundleID string `json:"bundleId"`
	// Name is for people: up to 128 characters, none of them a control character.
	Name string `json:"name"`
	// Arch is what the kernel and the programs run on, x86_64 or aarch64.
	Arch string `json:"arch"`
	// FirecrackerVersion is the release that the bundle was made for.
	FirecrackerVersion firecracker.Version `json:"firecrackerVersion"`
	// RootfsType is the file system of Rootfs.
	RootfsType RootfsType `json:"rootfsType"`
	// RootfsIsReadOnly gives the guest a drive that it can't write to. Squashfs
	// needs that.
	RootfsIsReadOnly bool `json:"rootfsIsReadOnly"`
	// BootArgs are the kernel arguments, printable ASCII; see [DefaultBootArgs].
	BootArgs string `json:"bootArgs"`

	Kernel ArtifactManifest `json:"kernel"`
	Rootfs ArtifactManifest `json:"rootfs"`
	// Initrd is for kernels that have drivers as modules, as those of distributions
	// have virtio. The zero value is none.
	Initrd ArtifactManifest `json:"initrd,omitzero"`
}

// ArtifactManifest is a file of a bundle: where it is to be had, and what it has
// to be then.
type ArtifactManifest struct {
	// URL has the scheme http, https or file, or is relative to the manifest's.
	// Either it or Path is given, and with it SHA256.
	URL string `json:"url,omitempty"`
	// Path of a local file, absolute or relative to the manifest's directory. A
	// manifest from the web can't have one.
	Path string `json:"path,omitempty"`
	// FileName is the file's name in the cache: 1 to 128 letters, digits, '.',
	// '_', '+' and '-', beginning with a letter or digit.
	FileName string `json:"fileName"`
	// SHA256 is 64 lower-case hexadecimal digits; "" where it is not known.
	SHA256 string `json:"sha256,omitempty"`
	// SizeBytes is 0 where it is not known.
	SizeBytes int64 `json:"sizeBytes,omitempty"`
}

// schemaVersion is what a [Manifest] has.
const schemaVersion = 1
