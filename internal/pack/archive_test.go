package pack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/pack"
)

// archive writes a tar; content is a file's name.
func archive(tb testing.TB, headers ...tar.Header) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			tb.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func file(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }

func dir(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}
}

func link(kind byte, name, target string) tar.Header {
	return tar.Header{Typeflag: kind, Name: name, Linkname: target}
}

func gzipped(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// normalise returns the stream that the writers of images get.
func normalise(tb testing.TB, data []byte) ([]byte, error) {
	tb.Helper()
	var out bytes.Buffer
	err := pack.Stream(tb.Context(), pack.Tar("test", bytes.NewReader(data)), &out, pack.Small(pack.Options{}))
	return out.Bytes(), err
}

// members lists a stream.
func members(tb testing.TB, stream []byte) []string {
	tb.Helper()
	var list []string
	for r := tar.NewReader(bytes.NewReader(stream)); ; {
		h, err := r.Next()
		if err != nil {
			return list
		}
		list = append(list, strings.TrimSpace(string(h.Typeflag)+" "+h.Name+" "+h.Linkname))
	}
}

func TestTarIsTakenBelowTheRoot(t *testing.T) {
	t.Parallel()
	data := archive(t,
		file("/etc/passwd"), file("./a//./b"), dir("./", 0o711), dir("etc/", 0o700), dir("etc", 0o700),
		link(tar.TypeSymlink, "up", "../../etc"), link(tar.TypeLink, "hard", "/etc/passwd"), link(tar.TypeLink, "harder", "./hard"),
		tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "0123"}},
	)
	want := []string{
		"0 etc/passwd", "0 a/b", "5 /", "5 etc/", "2 up ../../etc", "1 hard etc/passwd", "1 harder hard",
		"5 a/", // described by nobody, so it comes last
	}
	for name, data := range map[string][]byte{"plain": data, "gzipped": gzipped(t, data)} {
		stream, err := normalise(t, data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, members(t, stream)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTarThatCanNotBeTrustedIsRefused(t *testing.T) {
	t.Parallel()
	good := archive(t, file("a"), file("b"))
	tests := []struct {
		name string
		data []byte
		why  string
	}{
		{"name leads out", archive(t, file("../a")), "leads out"},
		{"name leads out in the middle", archive(t, file("a/../../b")), "leads out"},
		{"hard link leads out", archive(t, file("a"), link(tar.TypeLink, "b", "../a")), "leads out"},
		{"hard link to nothing", archive(t, link(tar.TypeLink, "b", "a"), file("a")), "no file before it"},
		{"hard link to itself", archive(t, link(tar.TypeLink, "b", "b")), "no file before it"},
		{"hard link to a directory", archive(t, dir("a", 0o755), link(tar.TypeLink, "b", "a")), "no file before it"},
		{"hard link to the root", archive(t, file("a"), link(tar.TypeLink, "b", "/")), "no file before it"},
		{"through a symbolic link", archive(t, link(tar.TypeSymlink, "a", "/etc"), file("a/passwd")), "not a directory"},
		{"through a hard link to one", archive(t, link(tar.TypeSymlink, "a", "/etc"), link(tar.TypeLink, "b", "a"), file("b/passwd")), "not a directory"},
		{"over a symbolic link", archive(t, link(tar.TypeSymlink, "a", "/etc/passwd"), file("a")), "already"},
		{"directory over a symbolic link", archive(t, link(tar.TypeSymlink, "a", "/etc"), dir("a", 0o755)), "already"},
		{"through a file", archive(t, file("a"), file("a/b")), "not a directory"},
		{"twice", archive(t, file("a"), file("./a")), "already"},
		{"directory twice, not the same", archive(t, dir("a", 0o755), dir("a", 0o777)), "already"},
		{"file over a directory", archive(t, file("a/b"), file("a")), "has to be a directory"},
		{"root is a link", archive(t, link(tar.TypeSymlink, "./", "x")), "root is not a directory"},
		{"part of a name too long", archive(t, file(strings.Repeat("x", 256))), "longer than 255"},
		{"name too long", archive(t, file(strings.Repeat("xx/", 2000)+"x")), "longer than 4095"},
		{"empty link", archive(t, link(tar.TypeSymlink, "a", "")), "target"},
		{"long link", archive(t, link(tar.TypeSymlink, "a", strings.Repeat("x", 4096))), "target"},
		{"no such device", archive(t, tar.Header{Typeflag: tar.TypeChar, Name: "a", Devmajor: 4096}), "no device 4096:0"},
		{"no such user", archive(t, tar.Header{Typeflag: tar.TypeDir, Name: "a", Uid: 1<<32 - 1}), "no owner"},
		{"no such group", archive(t, tar.Header{Typeflag: tar.TypeDir, Name: "a", Gid: 1 << 40}), "no owner"},
		{"unknown type", archive(t, tar.Header{Typeflag: 'V', Name: "volume"}), "type 'V'"},
		{"reserved type", archive(t, tar.Header{Typeflag: tar.TypeCont, Name: "x"}), "type '7'"},
		{"global header", archive(t, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "b"}}), "global header"},
		{"too many entries", archive(t, many(1001)...), "more than 1000 entries"},
		{"too many directories", archive(t, file(strings.Repeat("d/", 1000)+"x")), "more than 1000 entries"},
		{"too many bytes", claims(t), "more than 1048576 bytes"},
		{"empty", nil, "cut short"},
		{"no tar", bytes.Repeat([]byte("not a tar "), 1000), "no tar"},
		{"damaged", append(bytes.Clone(good[:100]), append([]byte{1}, good[101:]...)...), "no tar"},
		{"cut in a header", good[:300], "cut short"},
		{"cut in the content", good[:513], "cut short"},
		{"cut between entries", good[:1024], "cut short"},
		{"cut before the end marker", good[:2048], "cut short"},
		{"zstd", []byte("\x28\xb5\x2f\xfd and so on"), "zstd"},
		{"xz", []byte("\xfd7zXZ\x00 and so on"), "xz"},
		{"gzip cut short", gzipped(t, good)[:40], "cut short"},
		{"gzip with a wrong checksum", wrongChecksum(gzipped(t, good)), "checksum"},
	}
	for _, tt := range tests {
		_, err := normalise(t, tt.data)
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != errcode.RootfsCreateFailed || e.Subject != "test" || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: got %v, want ROOTFS_CREATE_FAILED about test that says %q", tt.name, err, tt.why)
		}
	}
}

func many(n int) []tar.Header {
	headers := make([]tar.Header, n)
	for i := range headers {
		headers[i] = file(strconv.Itoa(i))
	}
	return headers
}

// claims is the header of a file that is larger than it may be.
func claims(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: 2 << 20}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func wrongChecksum(data []byte) []byte {
	data[len(data)-5] ^= 1
	return data
}

func TestCompressionThatCanNotBeReadHasAHint(t *testing.T) {
	t.Parallel()
	_, err := normalise(t, []byte("\x28\xb5\x2f\xfd"))
	if e, ok := errors.AsType[*errcode.Error](err); !ok || !strings.Contains(e.Hint, "zstd -dc") {
		t.Errorf("got %v, want the command that decompresses it", err)
	}
}

func TestLatestSetsNewerTimesBack(t *testing.T) {
	t.Parallel()
	latest := time.Unix(1_000_000_000, 0)
	old, recent := file("old"), file("recent")
	old.ModTime, recent.ModTime = latest.Add(-time.Hour), latest.Add(time.Hour)
	var out bytes.Buffer
	source := pack.Tar("test", bytes.NewReader(archive(t, dir("./", 0o755), old, recent)))
	if err := pack.Stream(t.Context(), source, &out, pack.Options{Latest: latest}); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]time.Time)
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		got[h.Name] = h.ModTime
	}
	if !got["old"].Equal(old.ModTime) || !got["recent"].Equal(latest) {
		t.Errorf("got %v, want recent at %v", got, latest)
	}
}

func TestSourceThatIsNeitherDirectoryNorFileIsRefused(t *testing.T) {
	t.Parallel()
	for _, path := range []string{filepath.Join(t.TempDir(), "missing"), os.DevNull} {
		_, err := pack.Open(path)
		if e, ok := errors.AsType[*errcode.Error](err); !ok || e.Code != errcode.RootfsCreateFailed || e.Subject != path {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// A stream that is accepted has to be one that the writers of images understand:
// packed again it comes out as it went in.
func FuzzTar(f *testing.F) {
	xattrs := file("x")
	xattrs.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b\x00\n", "SCHILY.xattr.security.capability": "c"}
	long := link(tar.TypeSymlink, strings.Repeat("n/", 90), "/"+strings.Repeat("t", 150))
	long.PAXRecords = map[string]string{"SCHILY.xattr.trusted.a": "b"}
	f.Add(archive(f, dir("./", 0o1777), file("a/b/c"), dir("a", 0o700), xattrs, link(tar.TypeLink, "hard", "x")))
	f.Add(archive(f, long, tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}, tar.Header{Typeflag: tar.TypeFifo, Name: "fifo"}))
	f.Add(archive(f, file("\xff\xfe"), file("../x"), link(tar.TypeSymlink, "s", "../../..")))
	f.Add(gzipped(f, archive(f, file("a"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		stream, err := normalise(t, data)
		if err != nil {
			return
		}
		again, err := normalise(t, stream)
		if err != nil {
			t.Fatalf("the stream is refused: %v", err)
		}
		if !bytes.Equal(stream, again) {
			t.Errorf("the stream changes when it is packed again:\n%q\n%q", members(t, stream), members(t, again))
		}
		for r := tar.NewReader(bytes.NewReader(stream)); ; {
			h, err := r.Next()
			if err != nil {
				return
			}
			if filepath.IsAbs(h.Name) && h.Name != "/" || slices.Contains(strings.Split(h.Name, "/"), "..") {
				t.Errorf("%q leads out", h.Name)
			}
		}
	})
}
