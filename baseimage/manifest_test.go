package baseimage_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

const (
	hashA = "aa11111111111111111111111111111111111111111111111111111111111111"
	hashB = "bb22222222222222222222222222222222222222222222222222222222222222"
)

// good is a manifest for tests to spoil.
func good() *baseimage.Manifest {
	return &baseimage.Manifest{
		SchemaVersion: 1, BundleID: "mini-1", Name: "Mini", Arch: "x86_64",
		FirecrackerVersion: firecracker.Version{Major: 1, Minor: 15, Patch: 1},
		RootfsType:         baseimage.Squashfs, RootfsIsReadOnly: true,
		BootArgs: "console=ttyS0 ro quiet <&>",
		Kernel:   baseimage.ArtifactManifest{URL: "https://h.example/vmlinux?sig=a", FileName: "vmlinux-6.1", SHA256: hashA, SizeBytes: 1},
		Rootfs:   baseimage.ArtifactManifest{Path: "root.squashfs", FileName: "root.squashfs"},
	}
}

// initrd is one for tests to spoil, too.
func initrd() baseimage.ArtifactManifest {
	return baseimage.ArtifactManifest{URL: "initrd.img", FileName: "initrd-6.1", SHA256: hashB, SizeBytes: 2}
}

// spoilInitrd gives a manifest an initrd with a mistake.
func spoilInitrd(spoil func(a *baseimage.ArtifactManifest)) func(m *baseimage.Manifest) {
	return func(m *baseimage.Manifest) {
		m.Initrd = initrd()
		spoil(&m.Initrd)
	}
}

func encode(tb testing.TB, m *baseimage.Manifest) []byte {
	tb.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// mistakes returns the details of an INVALID_BASE_IMAGE_MANIFEST error as lines.
func mistakes(tb testing.TB, err error) string {
	tb.Helper()
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != errcode.InvalidBaseImageManifest {
		tb.Fatalf("got %v, want an INVALID_BASE_IMAGE_MANIFEST error", err)
	}
	var b strings.Builder
	for _, d := range e.Details {
		b.WriteString(d.String() + "\n")
	}
	return b.String()
}

// golden compares got with a file of testdata; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestParseManifestGivesBackWhatWasMarshalled(t *testing.T) {
	t.Parallel()
	for _, has := range []bool{false, true} {
		want := good()
		if has {
			want.Initrd = initrd()
		}
		data := encode(t, want)
		got, err := baseimage.ParseManifest(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if strings.Contains(string(data), "initrd") != has {
			t.Errorf("with an initrd %t, it is %s", has, data)
		}
	}
}

func TestParseManifestTakesHashesInUpperCase(t *testing.T) {
	t.Parallel()
	m := good()
	m.Initrd = initrd()
	m.Kernel.SHA256, m.Initrd.SHA256 = strings.ToUpper(hashA), strings.ToUpper(hashB)
	got, err := baseimage.ParseManifest(encode(t, m))
	if err != nil || got.Kernel.SHA256 != hashA || got.Initrd.SHA256 != hashB {
		t.Errorf("got %v, %v", got, err)
	}
	if err := m.Validate(); err == nil {
		t.Error("Validate accepts upper case, which comparisons would miss")
	}
}

func TestParseManifestReportsEveryMistakeWithItsField(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mistakes-syntax.json", "mistakes-rules.json", "mistakes-empty.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = baseimage.ParseManifest(data)
		golden(t, strings.ReplaceAll(name, ".json", ".txt"), mistakes(t, err))
	}
}

func TestParseManifestRefusesWhatIsNoSingleObject(t *testing.T) {
	t.Parallel()
	whole := string(encode(t, good()))
	tests := []struct{ name, text, want string }{
		{"nothing", "", "is empty"},
		{"a list", "[]", "want an object"},
		{"null", "null", "can't be null"},
		{"HTML", "<html>Sign in</html>", "is not JSON"},
		{"trailing data", whole + "{}", "after top-level value"},
		{"cut off", whole[:len(whole)-1], "unexpected end"},
		{"comment", "// x\n" + whole, "is not JSON"},
		{"bad UTF-8", strings.Replace(whole, "Mini", "\xff", 1), "UTF-8"},
		{"too large", whole + strings.Repeat(" ", 1<<20), "at most 1048576"},
		{"deep", `{"kernel":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, "exceeded max depth"},
		{"not so deep", `{"kernel":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "too deep"},
		{"a key twice", strings.Replace(whole, `"name"`, `"arch":"aarch64","name"`, 1), "arch: is set twice"},
		{"a key of a part twice", strings.Replace(whole, `"url"`, `"fileName":"x","url"`, 1), "kernel.fileName: is set twice"},
		{"an initrd of null", strings.Replace(whole, `"rootfs":`, `"initrd":null,"rootfs":`, 1), "initrd: can't be null"},
		{"an initrd of nothing", strings.Replace(whole, `"rootfs":`, `"initrd":{},"rootfs":`, 1), "initrd: can't be empty: leave it out"},
		{"an initrd of empty text", strings.Replace(whole, `"rootfs":`, `"initrd":{"fileName":""},"rootfs":`, 1), "initrd: can't be empty: leave it out"},
		{"an initrd by its path", strings.Replace(whole, `"rootfs":`, `"initrd":"initrd.img","rootfs":`, 1), "initrd: want an object"},
		{"an initrd twice", strings.Replace(whole, `"rootfs":`, `"initrd":{"path":"a","fileName":"a"},"initrd":{},"rootfs":`, 1), "initrd: is set twice"},
		{"other case", strings.Replace(whole, `"bundleId"`, `"bundleID"`, 1), `bundleID: unknown key, did you mean "bundleId"?`},
	}
	for _, tt := range tests {
		_, err := baseimage.ParseManifest([]byte(tt.text))
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
		} else if got := mistakes(t, err); !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q in it", tt.name, got, tt.want)
		}
	}
}

// rules are manifests that differ from the good one in one way, and the field
// that is wrong then; "" is none.
var rules = []struct {
	name  string
	spoil func(m *baseimage.Manifest)
	field string
}{
	{"as it is", func(*baseimage.Manifest) {}, ""},
	{"other architecture", func(m *baseimage.Manifest) { m.Arch = "aarch64" }, ""},
	{"writable ext4", func(m *baseimage.Manifest) { m.RootfsType, m.RootfsIsReadOnly = baseimage.Ext4, false }, ""},
	{"read-only ext4", func(m *baseimage.Manifest) { m.RootfsType = baseimage.Ext4 }, ""},
	{"longest id", func(m *baseimage.Manifest) { m.BundleID = strings.Repeat("a", 128) }, ""},
	{"name with other letters", func(m *baseimage.Manifest) { m.Name = strings.Repeat("é", 128) }, ""},
	{"longest boot args", func(m *baseimage.Manifest) { m.BootArgs = strings.Repeat("a", 2030) }, ""},
	{"file URL", func(m *baseimage.Manifest) { m.Kernel.URL = "file:///k" }, ""},
	{"URL of a user", func(m *baseimage.Manifest) { m.Kernel.URL = "https://me:pw@h.example:8443/a%20b?x=y" }, ""},
	{"relative URL with a colon in its second part", func(m *baseimage.Manifest) { m.Kernel.URL = "../k:1/vm" }, ""},
	{"URL of a path", func(m *baseimage.Manifest) { m.Kernel.URL = "/k" }, ""},
	{"local kernel without a hash", func(m *baseimage.Manifest) { m.Kernel = baseimage.ArtifactManifest{Path: "/k", FileName: "k"} }, ""},
	{"an initrd", spoilInitrd(func(*baseimage.ArtifactManifest) {}), ""},
	{"local initrd without a hash", func(m *baseimage.Manifest) { m.Initrd = baseimage.ArtifactManifest{Path: "i", FileName: "i"} }, ""},
	{"largest size", func(m *baseimage.Manifest) { m.Kernel.SizeBytes = 16 << 30 }, ""},

	{"newer format", func(m *baseimage.Manifest) { m.SchemaVersion = 2 }, "schemaVersion"},
	{"negative format", func(m *baseimage.Manifest) { m.SchemaVersion = -1 }, "schemaVersion"},
	{"no format", func(m *baseimage.Manifest) { m.SchemaVersion = 0 }, "schemaVersion"},
	{"no id", func(m *baseimage.Manifest) { m.BundleID = "" }, "bundleId"},
	{"id with a separator", func(m *baseimage.Manifest) { m.BundleID = "a/b" }, "bundleId"},
	{"id that leads out", func(m *baseimage.Manifest) { m.BundleID = ".." }, "bundleId"},
	{"hidden id", func(m *baseimage.Manifest) { m.BundleID = ".new-x" }, "bundleId"},
	{"id like a flag", func(m *baseimage.Manifest) { m.BundleID = "-f" }, "bundleId"},
	{"id with a line feed", func(m *baseimage.Manifest) { m.BundleID = "a\n" }, "bundleId"},
	{"id too long", func(m *baseimage.Manifest) { m.BundleID = strings.Repeat("a", 129) }, "bundleId"},
	{"no name", func(m *baseimage.Manifest) { m.Name = "" }, "name"},
	{"name with an escape", func(m *baseimage.Manifest) { m.Name = "a\x1b[2J" }, "name"},
	{"name too long", func(m *baseimage.Manifest) { m.Name = strings.Repeat("é", 129) }, "name"},
	{"Go's architecture", func(m *baseimage.Manifest) { m.Arch = "amd64" }, "arch"},
	{"no version", func(m *baseimage.Manifest) { m.FirecrackerVersion = firecracker.Version{} }, "firecrackerVersion"},
	{"other file system", func(m *baseimage.Manifest) { m.RootfsType = "ext3" }, "rootfsType"},
	{"writable squashfs", func(m *baseimage.Manifest) { m.RootfsIsReadOnly = false }, "rootfsIsReadOnly"},
	{"no boot args", func(m *baseimage.Manifest) { m.BootArgs = "" }, "bootArgs"},
	{"boot args of two lines", func(m *baseimage.Manifest) { m.BootArgs = "ro\nquiet" }, "bootArgs"},
	{"boot args with a tab", func(m *baseimage.Manifest) { m.BootArgs = "ro\tquiet" }, "bootArgs"},
	{"boot args with other letters", func(m *baseimage.Manifest) { m.BootArgs = "é" }, "bootArgs"},
	{"boot args too long", func(m *baseimage.Manifest) { m.BootArgs = strings.Repeat("a", 2031) }, "bootArgs"},
	{"nowhere", func(m *baseimage.Manifest) { m.Kernel.URL = "" }, "kernel"},
	{"two places", func(m *baseimage.Manifest) { m.Kernel.Path = "k" }, "kernel"},
	{"scheme ftp", func(m *baseimage.Manifest) { m.Kernel.URL = "ftp://h/k" }, "kernel.url"},
	{"scheme only", func(m *baseimage.Manifest) { m.Kernel.URL = "https://" }, "kernel.url"},
	{"opaque", func(m *baseimage.Manifest) { m.Kernel.URL = "data:text/plain,x" }, "kernel.url"},
	{"file of a host", func(m *baseimage.Manifest) { m.Kernel.URL = "file://h/k" }, "kernel.url"},
	{"other host", func(m *baseimage.Manifest) { m.Kernel.URL = "//h/k" }, "kernel.url"},
	{"fragment", func(m *baseimage.Manifest) { m.Kernel.URL = "https://h/k#x" }, "kernel.url"},
	{"space", func(m *baseimage.Manifest) { m.Kernel.URL = "https://h/a b" }, "kernel.url"},
	{"URL too long", func(m *baseimage.Manifest) { m.Kernel.URL = "https://h/" + strings.Repeat("a", 2039) }, "kernel.url"},
	{"no hash", func(m *baseimage.Manifest) { m.Kernel.SHA256 = "" }, "kernel.sha256"},
	{"short hash", func(m *baseimage.Manifest) { m.Kernel.SHA256 = hashA[1:] }, "kernel.sha256"},
	{"long hash", func(m *baseimage.Manifest) { m.Kernel.SHA256 = hashA + "0" }, "kernel.sha256"},
	{"hash with a prefix", func(m *baseimage.Manifest) { m.Kernel.SHA256 = "sha256:" + hashA[7:] }, "kernel.sha256"},
	{"placeholder", func(m *baseimage.Manifest) { m.Kernel.SHA256 = strings.Repeat("0", 64) }, "kernel.sha256"},
	{"placeholder of a local file", func(m *baseimage.Manifest) { m.Rootfs.SHA256 = strings.Repeat("0", 64) }, "rootfs.sha256"},
	{"negative size", func(m *baseimage.Manifest) { m.Kernel.SizeBytes = -1 }, "kernel.sizeBytes"},
	{"size too large", func(m *baseimage.Manifest) { m.Kernel.SizeBytes = 16<<30 + 1 }, "kernel.sizeBytes"},
	{"path with a zero byte", func(m *baseimage.Manifest) { m.Rootfs.Path = "a\x00b" }, "rootfs.path"},
	{"path too long", func(m *baseimage.Manifest) { m.Rootfs.Path = strings.Repeat("a", 4096) }, "rootfs.path"},
	{"no file name", func(m *baseimage.Manifest) { m.Rootfs.FileName = "" }, "rootfs.fileName"},
	{"file name with a separator", func(m *baseimage.Manifest) { m.Rootfs.FileName = "a/b" }, "rootfs.fileName"},
	{"file name with the other separator", func(m *baseimage.Manifest) { m.Rootfs.FileName = `a\b` }, "rootfs.fileName"},
	{"file name that leads out", func(m *baseimage.Manifest) { m.Rootfs.FileName = "../../etc/passwd" }, "rootfs.fileName"},
	{"hidden file name", func(m *baseimage.Manifest) { m.Rootfs.FileName = ".x" }, "rootfs.fileName"},
	{"file name of the cache", func(m *baseimage.Manifest) { m.Rootfs.FileName = "bundle.json" }, "rootfs.fileName"},
	{"file name of the manifest", func(m *baseimage.Manifest) { m.Rootfs.FileName = "manifest.json" }, "rootfs.fileName"},
	{"file name of the holders", func(m *baseimage.Manifest) { m.Rootfs.FileName = "uses" }, "rootfs.fileName"},
	{"one file name for kernel and rootfs", func(m *baseimage.Manifest) { m.Rootfs.FileName = m.Kernel.FileName }, "rootfs.fileName"},
	{"initrd nowhere", spoilInitrd(func(a *baseimage.ArtifactManifest) { a.URL = "" }), "initrd"},
	{"initrd at two places", spoilInitrd(func(a *baseimage.ArtifactManifest) { a.Path = "i" }), "initrd"},
	{"initrd by ftp", spoilInitrd(func(a *baseimage.ArtifactManifest) { a.URL = "ftp://h/i" }), "initrd.url"},
	{"initrd without a hash", spoilInitrd(func(a *baseimage.ArtifactManifest) { a.SHA256 = "" }), "initrd.sha256"},
	{"placeholder of an initrd", spoilInitrd(func(a *baseimage.ArtifactManifest) { a.SHA256 = strings.Repeat("0", 64) }), "initrd.sha256"},
	{"initrd of a negative size", spoilInitrd(func(a *baseimage.ArtifactManifest) { a.SizeBytes = -1 }), "initrd.sizeBytes"},
	{"initrd too large", spoilInitrd(func(a *baseimage.ArtifactManifest) { a.SizeBytes = 16<<30 + 1 }), "initrd.sizeBytes"},
	{"initrd with a path of a zero byte", spoilInitrd(func(a *baseimage.ArtifactManifest) { a.URL, a.Path = "", "a\x00b" }), "initrd.path"},
	{"initrd without a file name", spoilInitrd(func(a *baseimage.ArtifactManifest) { a.FileName = "" }), "initrd.fileName"},
	{"initrd with a file name that leads out", spoilInitrd(func(a *baseimage.ArtifactManifest) { a.FileName = "../../boot/initrd" }), "initrd.fileName"},
	{"initrd with a file name of the cache", spoilInitrd(func(a *baseimage.ArtifactManifest) { a.FileName = "bundle.json" }), "initrd.fileName"},
	{"one file name for initrd and kernel", func(m *baseimage.Manifest) { m.Initrd = initrd(); m.Initrd.FileName = m.Kernel.FileName }, "initrd.fileName"},
	{"one file name for initrd and rootfs", func(m *baseimage.Manifest) { m.Initrd = initrd(); m.Initrd.FileName = m.Rootfs.FileName }, "initrd.fileName"},
}

func TestManifestRulesNameTheField(t *testing.T) {
	t.Parallel()
	for _, tt := range rules {
		m := good()
		tt.spoil(m)
		err := m.Validate()
		if tt.field == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
			continue
		}
		got := mistakes(t, err)
		if !strings.HasPrefix(got, tt.field+": ") || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: got %q, want one mistake of %s", tt.name, got, tt.field)
		}
		if _, parseErr := baseimage.ParseManifest(encode(t, m)); mistakes(t, parseErr) != got {
			t.Errorf("%s: parsed, it has the mistakes %q, want %q", tt.name, mistakes(t, parseErr), got)
		}
	}
}

func TestManifestKeepsSecretsOfURLsOutOfErrors(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"ftp://me:hunter2@h/k", "https://me:hunter2@h/%zz", "https://h/k?token=hunter2#x"} {
		m := good()
		m.Kernel.URL = url
		if err := m.Validate(); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	for _, tt := range rules {
		m := good()
		tt.spoil(m)
		f.Add(encode(f, m))
	}
	for _, part := range []string{`null`, `{}`, `[]`, `""`, `{"fileName":""}`, `{"path":"/etc/shadow","fileName":"i"}`} {
		f.Add([]byte(strings.Replace(string(encode(f, good())), `"rootfs":`, `"initrd":`+part+`,"rootfs":`, 1)))
	}
	names, err := filepath.Glob("testdata/*.json")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := baseimage.ParseManifest(data)
		if err != nil {
			if mistakes(t, err) == "" {
				t.Error("refused without a mistake")
			}
			return
		}
		again, err := baseimage.ParseManifest(encode(t, m))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		names := []string{m.BundleID, m.Kernel.FileName, m.Rootfs.FileName}
		hasInitrd := m.Initrd != baseimage.ArtifactManifest{}
		if hasInitrd {
			names = append(names, m.Initrd.FileName)
		}
		for _, name := range names {
			if filepath.Dir(filepath.Join("/cache", name)) != "/cache" || filepath.Base(name) != name || strings.HasPrefix(name, ".") {
				t.Errorf("%q is no name of a file", name)
			}
		}
		if web, err := m.Resolve("https://h.example/m.json"); err == nil {
			files := []baseimage.ArtifactManifest{web.Kernel, web.Rootfs}
			if hasInitrd {
				files = append(files, web.Initrd)
			}
			for _, a := range files {
				if a.Path != "" || !strings.HasPrefix(a.URL, "http") {
					t.Errorf("a manifest from the web leads to %q %q", a.Path, a.URL)
				}
			}
		}
	})
}
