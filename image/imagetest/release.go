package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
)

// Release is what the archive of a release has.
type Release struct {
	Version, Arch string
	// Files are the members, by their names below the directory of the archive.
	Files map[string][]byte
}

// NewRelease returns a release such as "v1.12.1" for x86_64 or aarch64: Firecracker
// and jailer, each with its version, a license, and the list of their hashes.
func NewRelease(version, arch string) *Release {
	r := &Release{Version: version, Arch: arch, Files: map[string][]byte{"LICENSE": []byte("a license\n")}}
	r.Files[r.Firecracker()] = Program(arch, "Firecracker "+version+"\n\nFirecracker exiting successfully. exit_code=0\n")
	r.Files[r.Jailer()] = Program(arch, "Jailer "+version+"\n")
	r.List()
	return r
}

// Firecracker is the name of its Firecracker.
func (r *Release) Firecracker() string { return "firecracker-" + r.Version + "-" + r.Arch }

// Jailer is the name of its jailer.
func (r *Release) Jailer() string { return "jailer-" + r.Version + "-" + r.Arch }

// List makes the list of hashes anew. Like that of a real release it also names a
// file that is not in the archive.
func (r *Release) List() {
	delete(r.Files, "SHA256SUMS")
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(r.Files)) {
		fmt.Fprintf(&text, "%x  ./%s\n", sha256.Sum256(r.Files[name]), name)
	}
	fmt.Fprintf(&text, "%x  ./RELEASE_NOTES\n", sha256.Sum256(nil))
	r.Files["SHA256SUMS"] = text.Bytes()
}

// Archive packs the files.
func (r *Release) Archive(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(r.Files)) {
		content := r.Files[name]
		header := &tar.Header{Name: "release-" + r.Version + "-" + r.Arch + "/" + name, Mode: 0o755, Size: int64(len(content))}
		if err := w.WriteHeader(header); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			tb.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}
