package baseimage

import (
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// ParseManifest reads a manifest of at most 1 MiB.
//
// The error is INVALID_BASE_IMAGE_MANIFEST, and its Details have every mistake,
// each with its field, such as kernel.sha256: unknown keys, keys that are set
// twice, null and other values of the wrong type, and all that
// [Manifest.Validate] looks at. Hashes in upper case are taken as lower case.
func ParseManifest(data []byte) (*Manifest, error) {
	var f strict.Faults
	m := new(Manifest)
	if strict.Readable(&f, data) {
		if n := strict.ReadJSON(&f, data); n != nil {
			strict.DecodeExact(&f, n, m, "")
			for _, p := range parts {
				a := m.artifact(p)
				a.SHA256 = strings.ToLower(a.SHA256)
			}
			addNew(&f, m.mistakes())
		}
	}
	if err := f.Err(errcode.InvalidBaseImageManifest, "parse base image manifest"); err != nil {
		return nil, err
	}
	return m, nil
}

// addNew adds the mistakes that are not the consequence of one that is known: a
// field that could not be decoded is not missing.
func addNew(f *strict.Faults, mistakes []errcode.Detail) {
	known := f.Details
	for _, d := range mistakes {
		if !explained(d.Field, known) {
			f.Details = append(f.Details, d)
		}
	}
}

// explained reports whether a mistake is known of the field, of what it is part
// of, or of its parts.
func explained(field string, known []errcode.Detail) bool {
	for _, k := range known {
		if k.Field == "" || k.Field == field ||
			strings.HasPrefix(field, k.Field+".") || strings.HasPrefix(k.Field, field+".") {
			return true
		}
	}
	return false
}
