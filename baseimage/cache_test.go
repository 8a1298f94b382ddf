package baseimage_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// project is a directory with a kernel, a root file system and a manifest of them,
// as a project hosts them.
type project struct {
	dir            string
	manifest       string // its path
	kernel, rootfs []byte
	initrd         []byte // nil where there is none
}

func newProject(tb testing.TB, id string) *project {
	tb.Helper()
	p := &project{dir: tb.TempDir(), kernel: content(5000), rootfs: content(300_000)}
	p.manifest = filepath.Join(p.dir, "manifest.json")
	p.write(tb, id, nil)
	return p
}

// newInitrdProject is newProject with an initrd.
func newInitrdProject(tb testing.TB, id string) *project {
	tb.Helper()
	p := newProject(tb, id)
	p.initrd = content(20_000)
	p.write(tb, id, nil)
	return p
}

func content(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data)
	return data
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// write writes the files and a manifest that fits them; edit changes that.
func (p *project) write(tb testing.TB, id string, edit func(*baseimage.Manifest)) {
	tb.Helper()
	m := baseimage.Manifest{
		SchemaVersion: 1, BundleID: id, Name: "Test " + id, Arch: "x86_64",
		FirecrackerVersion: firecracker.Version{Major: 1, Minor: 12}, RootfsType: baseimage.Squashfs, RootfsIsReadOnly: true,
		BootArgs: "console=ttyS0",
		Kernel:   baseimage.ArtifactManifest{Path: filepath.Join(p.dir, "k"), FileName: "vmlinux", SHA256: sum(p.kernel), SizeBytes: int64(len(p.kernel))},
		Rootfs:   baseimage.ArtifactManifest{Path: filepath.Join(p.dir, "r"), FileName: "rootfs.squashfs", SHA256: sum(p.rootfs), SizeBytes: int64(len(p.rootfs))},
	}
	if p.initrd != nil {
		m.Initrd = baseimage.ArtifactManifest{Path: filepath.Join(p.dir, "i"), FileName: "initrd.img", SHA256: sum(p.initrd), SizeBytes: int64(len(p.initrd))}
	}
	if edit != nil {
		edit(&m)
	}
	data, err := json.Marshal(m)
	if err := errors.Join(err, os.WriteFile(filepath.Join(p.dir, "k"), p.kernel, 0o600),
		os.WriteFile(filepath.Join(p.dir, "r"), p.rootfs, 0o600), os.WriteFile(filepath.Join(p.dir, "i"), p.initrd, 0o600), os.WriteFile(p.manifest, data, 0o600)); err != nil {
		tb.Fatal(err)
	}
}

func (p *project) request() baseimage.Request { return baseimage.Request{Manifest: p.manifest} }

// journal is a log that tests read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// open returns a store that is closed with the test, if not earlier.
func open(tb testing.TB, opts baseimage.Options) *baseimage.Store {
	tb.Helper()
	if opts.Arch == "" {
		opts.Arch = "x86_64"
	}
	s, err := baseimage.Open(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { shut(tb, s) })
	return s
}

func shut(tb testing.TB, s *baseimage.Store) {
	tb.Helper()
	if err := s.Close(); err != nil {
		tb.Error(err)
	}
}

func cacheDir(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "cache")
}

func ensure(tb testing.TB, s *baseimage.Store, req baseimage.Request) *baseimage.Bundle {
	tb.Helper()
	b, err := s.Ensure(tb.Context(), req)
	if err != nil {
		tb.Fatalf("ensure: %v", err)
	}
	return b
}

// holds checks that the files of a bundle have this content.
func holds(tb testing.TB, b *baseimage.Bundle, kernel, rootfs []byte) {
	tb.Helper()
	holdsFile(tb, b.Kernel, kernel)
	holdsFile(tb, b.Rootfs, rootfs)
}

func holdsFile(tb testing.TB, f baseimage.Artifact, want []byte) {
	tb.Helper()
	info, err := os.Lstat(f.Path)
	if err != nil {
		tb.Fatal(err)
	}
	if info.Mode() != 0o644 {
		tb.Errorf("%s has mode %v, want a regular file that a jail can read", f.Path, info.Mode())
	}
	got, err := os.ReadFile(f.Path)
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		tb.Errorf("%s is not what it should be", f.Path)
	}
	if f.SHA256 != sum(want) || f.SizeBytes != int64(len(want)) {
		tb.Errorf("%s is said to have %s and %d bytes, want %s and %d", f.Path, f.SHA256, f.SizeBytes, sum(want), len(want))
	}
}

// isIn checks that a bundle has the project's files.
func (p *project) isIn(tb testing.TB, b *baseimage.Bundle) {
	tb.Helper()
	holds(tb, b, p.kernel, p.rootfs)
	switch {
	case p.initrd != nil:
		holdsFile(tb, b.Initrd, p.initrd)
	case b.Initrd != baseimage.Artifact{}:
		tb.Errorf("it has the initrd %+v, want none", b.Initrd)
	}
}

// isAll checks that a bundle has the project's files, and nothing else.
func (p *project) isAll(tb testing.TB, b *baseimage.Bundle) {
	tb.Helper()
	p.isIn(tb, b)
	want := []string{".used", "bundle.json", filepath.Base(b.Kernel.Path), filepath.Base(b.Rootfs.Path), "uses"}
	if p.initrd != nil {
		want = append(want, filepath.Base(b.Initrd.Path))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, names(tb, filepath.Dir(b.Kernel.Path))); diff != "" {
		tb.Errorf("the bundle's directory (-want +got):\n%s", diff)
	}
}

func wantCode(tb testing.TB, err error, code errcode.Code) {
	tb.Helper()
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != code {
		tb.Fatalf("got the error %v (%s), want %s", err, errcode.Of(err, "no code"), code)
	}
}

func wantText(tb testing.TB, where string, parts ...string) {
	tb.Helper()
	for _, part := range parts {
		if !strings.Contains(where, part) {
			tb.Errorf("%q does not say %q", where, part)
		}
	}
}

// list returns the ids in the cache.
func list(tb testing.TB, s *baseimage.Store) []string {
	tb.Helper()
	all, err := s.List(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	ids := make([]string, len(all))
	for i, st := range all {
		ids[i] = st.ID
	}
	return ids
}

// names returns what is in a directory.
func names(tb testing.TB, dir string) []string {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	found := make([]string, len(entries))
	for i, e := range entries {
		found[i] = e.Name()
	}
	return found
}
