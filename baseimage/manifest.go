package baseimage

import "github.com/smartvm/smartvm/firecracker"

// schemaVersion is the only version of the manifest's format there is so far.
const schemaVersion = 1

// Manifest describes a hosted bundle. Its JSON is the hosted manifest, and also
// what a cached bundle is described by.
type Manifest struct {
	SchemaVersion      int                 `json:"schemaVersion"` // 1
	BundleID           string              `json:"bundleId"`      // names the bundle in the cache: [A-Za-z0-9._-]
	Name               string              `json:"name"`          // for people
	Arch               string              `json:"arch"`          // x86_64 or aarch64
	FirecrackerVersion firecracker.Version `json:"firecrackerVersion"`
	RootfsType         RootfsType          `json:"rootfsType"`
	RootfsIsReadOnly   bool                `json:"rootfsIsReadOnly"`
	BootArgs           string              `json:"bootArgs"`
	Kernel             ArtifactManifest    `json:"kernel"`
	Rootfs             ArtifactManifest    `json:"rootfs"`
}

// ArtifactManifest is a file of a bundle: where it comes from and what it has to be.
type ArtifactManifest struct {
	URL       string `json:"url,omitempty"`  // http, https or file; either this or Path
	Path      string `json:"path,omitempty"` // of a local file
	FileName  string `json:"fileName"`       // in the cache: a single path element
	SHA256    string `json:"sha256,omitempty"`
	SizeBytes int64  `json:"sizeBytes,omitempty"` // 0 = not known
}
