package firecracker

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Version is a Firecracker release, such as v1.12.1. Versions are comparable
// with == and ordered by [Version.Compare]; the zero value means "unknown".
type Version struct {
	Major, Minor, Patch int
}

// ParseVersion reads "1.12.1", "v1.12.1" or "1.12" (patch 0). A suffix such as
// "-dev" is accepted and ignored: such a build has its release's API.
func ParseVersion(text string) (Version, error) {
	core, _, _ := strings.Cut(strings.TrimPrefix(text, "v"), "-")
	parts := strings.Split(core, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return Version{}, fmt.Errorf("%q is not a Firecracker version such as v1.12.1", text)
	}
	var n [3]int
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return Version{}, fmt.Errorf("%q is not a Firecracker version such as v1.12.1", text)
		}
		n[i] = int(v)
	}
	return Version{n[0], n[1], n[2]}, nil
}

// String returns "v1.12.1".
func (v Version) String() string {
	return fmt.Sprintf("v%d.%d.%d", v.Major, v.Minor, v.Patch)
}

// MarshalText returns "v1.12.1", and nothing for an unknown version.
func (v Version) MarshalText() ([]byte, error) {
	if v.IsZero() {
		return nil, nil
	}
	return []byte(v.String()), nil
}

// UnmarshalText reads exactly what [Version.MarshalText] writes. What people
// type is for [ParseVersion].
func (v *Version) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*v = Version{}
		return nil
	}
	parsed, err := ParseVersion(string(text))
	if err != nil {
		return err
	}
	if parsed.String() != string(text) {
		return fmt.Errorf("%q is not written as vX.Y.Z, such as v1.12.1", text)
	}
	*v = parsed
	return nil
}

// IsZero reports whether the version is unknown.
func (v Version) IsZero() bool { return v == Version{} }

// Compare returns -1, 0 or +1 as v is older than, the same as or newer than w.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Patch, w.Patch))
}
