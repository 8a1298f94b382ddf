package unpack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/unpack"
)

// member is an entry of an archive; the zero type is a regular file.
type member struct {
	name, content, link string
	kind                byte
}

// tarOf writes an archive. Its names are taken as they are.
func tarOf(tb testing.TB, members ...member) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Linkname: m.link, Mode: 0o4777, Size: int64(len(m.content)), Format: tar.FormatPAX}
		switch h.Typeflag {
		case 0:
			h.Typeflag = tar.TypeReg
		case tar.TypeXGlobalHeader:
			h = &tar.Header{Typeflag: m.kind, PAXRecords: map[string]string{"comment": m.content}}
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func openRoot(tb testing.TB, dir string) *os.Root {
	tb.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = root.Close() })
	return root
}

// base wants every regular member, under the last element of its name.
func base(name string) string { return filepath.Base(name) }

// content reads a whole directory, links as their target.
func content(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		if !d.Type().IsRegular() {
			got[name] = d.Type().String()
			return nil
		}
		data, err := os.ReadFile(path)
		got[name] = string(data)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func TestWantedMembersAreWrittenAndNothingElse(t *testing.T) {
	t.Parallel()
	archive := gzipped(t, tarOf(
		t,
		member{kind: tar.TypeXGlobalHeader},
		member{name: "./release/", kind: tar.TypeDir},
		member{name: "release/a", content: "alpha"},
		member{name: "release/b", content: "beta"},
		member{name: "release/sub/empty"},
		member{name: "release/sub/up", kind: tar.TypeSymlink, link: "../a"},
		member{name: "release/hard", kind: tar.TypeLink, link: "release/a"},
	))
	dir := t.TempDir()
	names := map[string]string{"release/a": "first", "release/sub/empty": "second", "release/sub/up": "link", "release/hard": "link"}
	files, err := unpack.TarGz(t.Context(), bytes.NewReader(archive), openRoot(t, dir), unpack.Limits{}, func(m string) string { return names[m] })
	if err != nil {
		t.Fatal(err)
	}
	want := []unpack.File{
		{Member: "release/a", Name: "first", Size: 5, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte("alpha")))},
		{Member: "release/sub/empty", Name: "second", SHA256: fmt.Sprintf("%x", sha256.Sum256(nil))},
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"first": "alpha", "second": ""}, content(t, dir)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(filepath.Join(dir, "first")); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v, want 0600 whatever the archive says", info.Mode(), err)
	}
}

func TestArchiveThatBreaksTheRulesIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	tests := map[string]member{
		"parent":                   {name: "../evil", content: "x"},
		"parent in the middle":     {name: "release/../../evil", content: "x"},
		"parent that comes back":   {name: "release/../evil", content: "x"},
		"parent directory":         {name: "release/../../dir/", kind: tar.TypeDir},
		"absolute":                 {name: "/etc/evil", content: "x"},
		"absolute, two slashes":    {name: "//etc/evil", content: "x"},
		"no name":                  {name: "", content: "x"},
		"link to an absolute path": {name: "release/evil", kind: tar.TypeSymlink, link: "/etc"},
		"link out":                 {name: "release/evil", kind: tar.TypeSymlink, link: "../../etc"},
		"link without a target":    {name: "evil", kind: tar.TypeSymlink},
		"link with a bad name":     {name: "../evil", kind: tar.TypeSymlink, link: "a"},
		"hard link out":            {name: "release/evil", kind: tar.TypeLink, link: "../etc/passwd"},
		"hard link, absolute":      {name: "release/evil", kind: tar.TypeLink, link: "/etc/passwd"},
		"character device":         {name: "release/evil", kind: tar.TypeChar},
		"block device":             {name: "release/evil", kind: tar.TypeBlock},
		"pipe":                     {name: "release/evil", kind: tar.TypeFifo},
		"unknown type":             {name: "release/evil", kind: 'Z'},
	}
	for name, evil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			dir := filepath.Join(parent, "a", "b")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			archive := gzipped(t, tarOf(t, member{name: "release/good", content: "good"}, evil))
			files, err := unpack.TarGz(t.Context(), bytes.NewReader(archive), openRoot(t, dir), unpack.Limits{}, base)
			if !errors.Is(err, unpack.ErrRefused) || files != nil {
				t.Errorf("got %v, %v, want that it is refused", files, err)
			}
			if got := content(t, parent); len(got) != 2 { // the directories a and a/b
				t.Errorf("it left %v", got)
			}
		})
	}
}

func TestLimitsStopABomb(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("\x00", 1<<20)
	tests := map[string]struct {
		members []member
		limits  unpack.Limits
	}{
		"many members":          {[]member{{name: "a"}, {name: "b"}, {name: "c"}}, unpack.Limits{Members: 2}},
		"a large member":        {[]member{{name: "a", content: zeros}}, unpack.Limits{MemberSize: 1<<20 - 1}},
		"a large other member":  {[]member{{name: "other", content: zeros}}, unpack.Limits{MemberSize: 1<<20 - 1}},
		"large altogether":      {[]member{{name: "a", content: zeros}, {name: "b", content: zeros}}, unpack.Limits{Size: 2 << 20}},
		"large in what follows": {[]member{{name: "other", content: zeros}, {name: "a"}}, unpack.Limits{Size: 1 << 20}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			archive := gzipped(t, tarOf(t, tt.members...))
			want := func(m string) string { return strings.TrimPrefix(m, "other") }
			_, err := unpack.TarGz(t.Context(), bytes.NewReader(archive), openRoot(t, dir), tt.limits, want)
			if !errors.Is(err, unpack.ErrRefused) {
				t.Errorf("got %v, want that it is refused", err)
			}
			if got := content(t, dir); len(got) != 0 {
				t.Errorf("it left %d files", len(got))
			}
		})
	}
}

func TestArchiveAsLargeAsItsLimitsIsTaken(t *testing.T) {
	t.Parallel()
	plain := tarOf(t, member{name: "a", content: strings.Repeat("a", 5000)}, member{name: "b"})
	limits := unpack.Limits{Members: 2, MemberSize: 5000, Size: int64(len(plain))}
	files, err := unpack.TarGz(t.Context(), bytes.NewReader(gzipped(t, plain)), openRoot(t, t.TempDir()), limits, base)
	if err != nil || len(files) != 2 {
		t.Errorf("got %v, %v", files, err)
	}
	limits.Size--
	if _, err := unpack.TarGz(t.Context(), bytes.NewReader(gzipped(t, plain)), openRoot(t, t.TempDir()), limits, base); !errors.Is(err, unpack.ErrRefused) {
		t.Errorf("one byte more than the limit: %v", err)
	}
}

// The size of a sparse member is what it would take on the disk, not in the archive.
func TestHolesCountAsBytes(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	stored := "1\n1099511627776\n0\n" // one extent of no bytes at the end of 1 TiB
	stored += strings.Repeat("\x00", 512-len(stored))
	// The tar package writes no GNU.sparse records, so this one has a name that is patched.
	h := &tar.Header{Name: "bomb", Typeflag: tar.TypeReg, Size: int64(len(stored)), Format: tar.FormatPAX, PAXRecords: map[string]string{
		"XNU.sparse.major": "1", "XNU.sparse.minor": "0", "XNU.sparse.name": "bomb", "XNU.sparse.realsize": "1099511627776",
	}}
	if err := errors.Join(w.WriteHeader(h), second(io.WriteString(w, stored)), w.Close()); err != nil {
		t.Fatal(err)
	}
	archive := bytes.ReplaceAll(b.Bytes(), []byte("XNU.sparse"), []byte("GNU.sparse"))
	dir := t.TempDir()
	_, err := unpack.TarGz(t.Context(), bytes.NewReader(gzipped(t, archive)), openRoot(t, dir), unpack.Limits{}, base)
	if !errors.Is(err, unpack.ErrRefused) || len(content(t, dir)) != 0 {
		t.Errorf("got %v, want that 1 TiB is refused", err)
	}
}

func second(_ int, err error) error { return err }

func TestDamagedArchiveLeavesNothing(t *testing.T) {
	t.Parallel()
	whole := gzipped(t, tarOf(t, member{name: "a", content: strings.Repeat("alpha", 1000)}, member{name: "b", content: "beta"}))
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-6] ^= 1 // in the checksum
	tests := map[string][]byte{
		"empty":                 nil,
		"not gzip":              []byte("<html>404</html>"),
		"not tar":               gzipped(t, []byte(strings.Repeat("x", 4096))),
		"without its end":       whole[:len(whole)-1],
		"half":                  whole[:len(whole)/2],
		"a wrong checksum":      flipped,
		"with something behind": append(bytes.Clone(whole), "garbage"...),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if _, err := unpack.TarGz(t.Context(), bytes.NewReader(data), openRoot(t, dir), unpack.Limits{}, base); err == nil {
				t.Error("it was taken")
			}
			if got := content(t, dir); len(got) != 0 {
				t.Errorf("it left %v", got)
			}
		})
	}
}

func TestExistingFileAndLinkAreNeitherFollowedNorReplaced(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dir := filepath.Join(parent, "dir")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Symlink("../outside", filepath.Join(dir, "link")), os.WriteFile(filepath.Join(dir, "old"), []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "old"} {
		archive := gzipped(t, tarOf(t, member{name: "new", content: "new"}, member{name: name, content: "evil"}))
		if _, err := unpack.TarGz(t.Context(), bytes.NewReader(archive), openRoot(t, dir), unpack.Limits{}, base); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: got %v, want that it exists", name, err)
		}
	}
	want := map[string]string{"dir": "d---------", "dir/link": "L---------", "dir/old": "old"}
	if diff := cmp.Diff(want, content(t, parent)); diff != "" {
		t.Error(diff)
	}
}

func TestMemberThatComesTwiceIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	archive := gzipped(t, tarOf(t, member{name: "a", content: "one"}, member{name: "a", content: "two"}))
	if _, err := unpack.TarGz(t.Context(), bytes.NewReader(archive), openRoot(t, dir), unpack.Limits{}, base); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if got := content(t, dir); len(got) != 0 {
		t.Errorf("it left %v", got)
	}
}

func TestContextEndsTheWork(t *testing.T) {
	t.Parallel()
	reason := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	dir := t.TempDir()
	archive := gzipped(t, tarOf(t, member{name: "a", content: "one"}, member{name: "b", content: "two"}))
	slow := &oneByOne{data: archive, at: len(archive) - 2, then: func() { cancel(reason) }}
	if _, err := unpack.TarGz(ctx, slow, openRoot(t, dir), unpack.Limits{}, base); !errors.Is(err, reason) {
		t.Errorf("got %v, want the cause of the context", err)
	}
	if got := content(t, dir); len(got) != 0 {
		t.Errorf("it left %v", got)
	}
}

// oneByOne reads single bytes and calls a function at one of them.
type oneByOne struct {
	data []byte
	n    int
	at   int
	then func()
}

func (r *oneByOne) Read(p []byte) (int, error) {
	if r.n == r.at {
		r.then()
	}
	if r.n == len(r.data) {
		return 0, io.EOF
	}
	p[0] = r.data[r.n]
	r.n++
	return 1, nil
}

func FuzzTarGz(f *testing.F) {
	f.Add(tarOf(f, member{name: "a", content: "alpha"}, member{name: "b/a", content: "beta"}, member{name: "c", kind: tar.TypeSymlink, link: "a"}), true)
	f.Add(tarOf(f, member{name: "../a", content: "alpha"}), true)
	f.Add(tarOf(f, member{name: strings.Repeat("long/", 60) + "a", content: "alpha"}), true)
	f.Add(gzipped(f, tarOf(f, member{name: "a", content: "alpha"})), false)
	limits := unpack.Limits{Members: 20, MemberSize: 4096, Size: 64 << 10}
	f.Fuzz(func(t *testing.T, data []byte, compress bool) {
		if compress {
			data = gzipped(t, data)
		}
		parent := t.TempDir()
		dir := filepath.Join(parent, "dir")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		n := 0
		files, err := unpack.TarGz(t.Context(), bytes.NewReader(data), openRoot(t, dir), limits, func(string) string {
			n++
			return fmt.Sprint("file", n)
		})
		got := content(t, parent)
		if len(got) != len(files)+1 {
			t.Fatalf("told of %d files (%v), there are %v", len(files), err, got)
		}
		for _, file := range files {
			text, ok := got["dir/"+file.Name]
			if !ok || int64(len(text)) != file.Size || file.Size > limits.MemberSize || fmt.Sprintf("%x", sha256.Sum256([]byte(text))) != file.SHA256 {
				t.Errorf("%+v has %d bytes", file, len(text))
			}
		}
	})
}
