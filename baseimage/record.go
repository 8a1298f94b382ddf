package baseimage

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/strict"
)

const (
	recordName = "bundle.json"
	usesName   = "uses"  // the directory of the pins
	usedName   = ".used" // its time of modification is the bundle's last use
)

// record is the content of bundle.json. Its manifest has every hash and size.
type record struct {
	Preset    Preset    `json:"preset"`
	Source    Source    `json:"source"`
	CreatedAt time.Time `json:"createdAt"`
	// FitsFrom is the oldest Firecracker that the bundle was asked for, that of the
	// manifest the newest: what fits both fits those in between.
	FitsFrom firecracker.Version `json:"fitsFrom"`
	Manifest Manifest            `json:"manifest"`
}

// part is one of the files of a bundle.
type part string

const (
	partKernel part = "kernel"
	partRootfs part = "rootfs"
	partInitrd part = "initrd"
)

// parts are all files that a bundle may have, in their order.
var parts = [...]part{partKernel, partRootfs, partInitrd}

// parts returns the files that the bundle has, in their order.
func (m *Manifest) parts() []part {
	if m.Initrd == (ArtifactManifest{}) {
		return []part{partKernel, partRootfs}
	}
	return parts[:]
}

// artifact returns a file's description for reading or writing. It is zero for a file
// that the bundle lacks.
func (m *Manifest) artifact(p part) *ArtifactManifest {
	switch p {
	case partKernel:
		return &m.Kernel
	case partInitrd:
		return &m.Initrd
	default:
		return &m.Rootfs
	}
}

// origin is where an artifact comes from.
func (a *ArtifactManifest) origin() string {
	if a.Path != "" {
		return a.Path
	}
	return a.URL
}

// parseRecord reads bundle.json of the bundle id. The file is ours, but so is the
// disk that has bit errors: nothing in it is taken for granted.
func parseRecord(data []byte, id string) (*record, error) {
	var f strict.Faults
	r := new(record)
	if strict.Readable(&f, data) {
		if n := strict.ReadJSON(&f, data); n != nil {
			strict.DecodeExact(&f, n, r, "")
		}
	}
	if len(f.Details) == 0 {
		f.Details = r.mistakes(id)
	}
	return r, f.Err(errcode.BaseImageDamaged, "read")
}

// mistakes demands what a manifest may leave out.
func (r *record) mistakes(id string) []errcode.Detail {
	f := strict.Faults{Details: r.Manifest.mistakes()}
	if r.Preset != Latest && r.Preset != LTS && r.Preset != Hosted {
		f.Add("preset", "%s is unknown", strict.Quote(string(r.Preset)))
	}
	if r.Manifest.BundleID != id {
		f.Add("manifest.bundleId", "it is %s, in the directory %s", strict.Quote(r.Manifest.BundleID), id)
	}
	for _, p := range r.Manifest.parts() {
		if a := r.Manifest.artifact(p); a.SHA256 == "" || a.SizeBytes <= 0 {
			f.Add("manifest."+string(p), "it has no hash or no size")
		}
	}
	return f.Details
}

// encode returns the content of bundle.json, which can be read again.
func (r *record) encode() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	if _, err := parseRecord(data, r.Manifest.BundleID); err != nil {
		return nil, fmt.Errorf("the bundle can't be described: %w", err)
	}
	return append(data, '\n'), nil
}

// bundle returns what callers see; dir is the bundle's absolute path.
func (r *record) bundle(dir string, used time.Time) Bundle {
	m := &r.Manifest
	file := func(p part) Artifact {
		a := m.artifact(p)
		if a.FileName == "" {
			return Artifact{}
		}
		return Artifact{Path: filepath.Join(dir, a.FileName), SHA256: a.SHA256, SizeBytes: a.SizeBytes, Source: a.origin()}
	}
	return Bundle{
		ID: m.BundleID, Name: m.Name, Arch: m.Arch, FirecrackerVersion: m.FirecrackerVersion,
		Kernel: file(partKernel), Rootfs: file(partRootfs), Initrd: file(partInitrd),
		RootfsType: m.RootfsType, RootfsIsReadOnly: m.RootfsIsReadOnly, BootArgs: m.BootArgs,
		Preset: r.Preset, Source: r.Source, CreatedAt: r.CreatedAt, LastUsedAt: used,
	}
}
