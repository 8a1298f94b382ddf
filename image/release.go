package image

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// arches are the architectures that Firecracker is released for.
var arches = []string{"x86_64", "aarch64"}

// Release is a Firecracker release below a data directory.
type Release struct {
	Version     firecracker.Version `json:"version"`
	Arch        string              `json:"arch"`
	Firecracker string              `json:"firecracker"`      // path
	Jailer      string              `json:"jailer,omitempty"` // path; "" when there is none
}

func (s *Store) release(v firecracker.Version) Release {
	return Release{v, s.arch, FirecrackerPath(s.dataDir, v, s.arch), JailerPath(s.dataDir, v, s.arch)}
}

// name is what the files of the release have in common.
func (r Release) name() string { return firecrackerName(r.Version, r.Arch) }

// recordName is the file that keeps what the binaries hash to.
func (r Release) recordName() string { return "SHA256SUMS-" + r.Version.String() + "-" + r.Arch }

// binaries are the names of the two programs, in the order in which they get into
// their place: a Firecracker that exists has its jailer.
func (r Release) binaries() []string {
	return []string{jailerName(r.Version, r.Arch), firecrackerName(r.Version, r.Arch)}
}

// Releases lists the Firecrackers below the data directory, for whichever
// architecture, newest first. They are found by their names and not looked at;
// [Store.Verify] does that.
func (s *Store) Releases() ([]Release, error) {
	releases, err := listReleases(s.dataDir)
	if err != nil {
		return nil, &errcode.Error{Code: errcode.DirectoryFailed, Op: "list releases", Subject: BinDir(s.dataDir), Err: err}
	}
	return releases, nil
}

func listReleases(dataDir string) ([]Release, error) {
	entries, err := os.ReadDir(BinDir(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var releases []Release
	names := make(map[string]bool)
	for _, e := range entries {
		names[e.Name()] = true
		if r, ok := parseReleaseName(e.Name()); ok {
			r.Firecracker = filepath.Join(BinDir(dataDir), e.Name())
			releases = append(releases, r)
		}
	}
	for i, r := range releases {
		if names[jailerName(r.Version, r.Arch)] {
			releases[i].Jailer = JailerPath(dataDir, r.Version, r.Arch)
		}
	}
	slices.SortFunc(releases, func(a, b Release) int {
		return cmp.Or(b.Version.Compare(a.Version), strings.Compare(a.Arch, b.Arch))
	})
	return releases, nil
}

// parseReleaseName reads the name of a stored Firecracker.
func parseReleaseName(name string) (Release, bool) {
	for _, arch := range arches {
		text, ok := strings.CutSuffix(name, "-"+arch)
		if text, isOurs := strings.CutPrefix(text, "firecracker-"); ok && isOurs {
			v, ok := exactVersion(text)
			return Release{Version: v, Arch: arch}, ok
		}
	}
	return Release{}, false
}
