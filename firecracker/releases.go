package firecracker

import "strings"

// releases are the first release of something and the patch releases of older
// trains that got it too, oldest first.
type releases []Version

// minor returns the first release of v1.n.
func minor(n int) releases { return releases{{1, n, 0}} }

// parseReleases reads a tag such as "1.14.4,1.15.1".
func parseReleases(tag string) releases {
	if tag == "" {
		return nil
	}
	var out releases
	for text := range strings.SplitSeq(tag, ",") {
		v, err := ParseVersion(text)
		if err != nil {
			panic("firecracker: tag of a wire type: " + err.Error())
		}
		out = append(out, v)
	}
	return out
}

// has reports whether v is in a listed train at or above its release, or in a
// train newer than all that are listed.
func (rs releases) has(v Version) bool {
	if len(rs) == 0 {
		return true
	}
	for _, r := range rs {
		if r.Major == v.Major && r.Minor == v.Minor {
			return v.Patch >= r.Patch
		}
	}
	return v.Compare(rs[len(rs)-1]) > 0
}

// String returns "v1.14.4, v1.15.1 or newer".
func (rs releases) String() string {
	texts := make([]string, len(rs))
	for i, r := range rs {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ") + " or newer"
}
