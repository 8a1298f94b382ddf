package baseimage

import (
	"time"

	"github.com/smartvm/smartvm/firecracker"
)

// Bundle is a kernel and a root file system in the cache, with what is needed to
// boot them.
type Bundle struct {
	ID                 string              `json:"id"`   // its name in the cache
	Name               string              `json:"name"` // for people
	Arch               string              `json:"arch"` // x86_64 or aarch64
	FirecrackerVersion firecracker.Version `json:"firecrackerVersion"`

	Kernel           Artifact   `json:"kernel"`
	Rootfs           Artifact   `json:"rootfs"`
	Initrd           Artifact   `json:"initrd,omitzero"` // zero where there is none
	RootfsType       RootfsType `json:"rootfsType"`
	RootfsIsReadOnly bool       `json:"rootfsIsReadOnly"`
	BootArgs         string     `json:"bootArgs"`

	Preset     Preset    `json:"preset"` // the one that it was first fetched for
	Source     Source    `json:"source"`
	CreatedAt  time.Time `json:"createdAt"`  // when it was put into the cache
	LastUsedAt time.Time `json:"lastUsedAt"` // by Ensure or Pin
}

// Artifact is a file of a bundle.
type Artifact struct {
	Path      string `json:"path"`      // absolute
	SHA256    string `json:"sha256"`    // 64 lower-case hexadecimal digits
	SizeBytes int64  `json:"sizeBytes"` // of the file
	Source    string `json:"source"`    // the URL or path that it came from, without user info
}

// Source is what described a bundle.
type Source struct {
	// Location is the folder of Firecracker's CI bucket, or the URL or path of a
	// hosted manifest, without user info.
	Location string `json:"location"`
	// ResolvedAt is when that was read for what is in the cache now.
	ResolvedAt time.Time `json:"resolvedAt"`
	// FetchedAt is when the last of the files was fetched.
	FetchedAt time.Time `json:"fetchedAt"`
}

// Status is a bundle as [Store.List] sees it.
type Status struct {
	Bundle
	// SizeBytes is the sum of the sizes that its files should have.
	SizeBytes int64 `json:"sizeBytes"`
	// InUse says that a store that is not closed has returned it, or that a VM holds
	// it: it is neither evicted nor removed now.
	InUse bool `json:"inUse"`
	// Damaged says why the bundle can't be used as it is; "" where nothing is known.
	// Hashes are for [Store.Verify]. Ensure repairs it. Where the description itself
	// is damaged, only ID, InUse and LastUsedAt are known.
	Damaged string `json:"damaged,omitempty"`
}
