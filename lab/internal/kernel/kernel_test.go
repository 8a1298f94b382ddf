package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBlocksOfLZ4AreUnpacked(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 300)
	for name, tt := range map[string]struct{ in, want string }{
		"literals":            {"\x30abc", "abc"},
		"a match":             {"\x30abc\x03\x00\x10x", "abcabcax"},
		"an overlap":          {"\x10a\x01\x00\x10b", "aaaaab"},
		"a long run":          {"\x1fa\x01\x00\xff\x19\x00", long[:1+4+15+255+25]},
		"many literals":       {"\xf0\x05" + long[:20], long[:20]},
		"no literals at last": {"\x1aa\x01\x00\x00", long[:1+4+10]},
	} {
		got, err := unpackBlock([]byte(tt.in), 1<<10)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tt.want)
		}
	}
}

func TestDamagedLZ4IsRefused(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"nothing": "", "missing literals": "\x30ab", "missing offset": "\x10a\x01", "offset 0": "\x10a\x00\x00\x00",
		"offset before the beginning": "\x10a\x02\x00\x00", "endless length": "\xf0\xff", "more than the limit": "\x1fa\x01\x00\xff\xff\xff\xff\xff\x00\x00",
	} {
		if got, err := unpackBlock([]byte(in), 1<<10); err == nil {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func FuzzUnpackBlock(f *testing.F) {
	f.Add([]byte("\x30abc\x03\x00\x10x"))
	f.Add([]byte("\x1fa\x01\x00\xff\x19\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if out, err := unpackBlock(in, 1<<16); err == nil && len(out) > 1<<16 {
			t.Fatalf("%d bytes", len(out))
		}
	})
}

// frame is a legacy frame of one block of literals.
func frame(text string) string {
	block := "\xf0" + string(rune(len(text)-15)) + text
	return lz4Magic + string(binary.LittleEndian.AppendUint32(nil, uint32(len(block)))) + block
}

func TestVmlinuxIsFoundBehindWhatOnlyLooksLikeOne(t *testing.T) {
	t.Parallel()
	kernel := "\x7fELF and what follows it"
	image := "MZ header " + lz4Magic + "\xff\xff\xff\x7f " + frame("not a kernel, but a frame") + frame(kernel) + "\x17\x00\x00\x00 trailer"
	got, err := Vmlinux([]byte(image))
	if err != nil || string(got) != kernel {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := Vmlinux([]byte("MZ gzip")); err == nil {
		t.Errorf("got %q out of nothing", got)
	}
}

// writeModule writes an object file that has nothing but .modinfo.
func writeModule(t *testing.T, path string, info ...string) {
	t.Helper()
	modinfo := strings.Join(info, "\x00") + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	const headSize, sectionSize = 64, 64
	head := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: headSize, Shentsize: sectionSize,
		Shnum: 3, Shstrndx: 2, Shoff: uint64(headSize + len(modinfo) + len(names)),
	}
	copy(head.Ident[:], elf.ELFMAG)
	head.Ident[elf.EI_CLASS], head.Ident[elf.EI_DATA], head.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var b bytes.Buffer
	for _, part := range []any{
		head, []byte(modinfo), []byte(names),
		elf.Section64{},
		elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: headSize, Size: uint64(len(modinfo))},
		elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(headSize + len(modinfo)), Size: uint64(len(names))},
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// someModules are three that depend on each other.
func someModules(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeModule(t, filepath.Join(dir, "virtio", "virtio.ko"), "name=virtio", "depends=")
	writeModule(t, filepath.Join(dir, "virtio", "virtio_ring.ko"), "depends=virtio")
	writeModule(t, filepath.Join(dir, "net", "virtio-net.ko"), "depends=virtio,virtio-ring", "alias=virtio:d00000001v*")
	writeModule(t, filepath.Join(dir, "net", "tun.ko"), "depends=", "alias=devname:net/tun", "alias=char-major-10-200")
	return dir
}

func TestModulesComeAfterThoseThatTheyDependOn(t *testing.T) {
	t.Parallel()
	m, err := ReadModules(someModules(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Order("virtio_net", "tun", "virtio_ring")
	want := []string{"virtio/virtio.ko", "virtio/virtio_ring.ko", "net/virtio-net.ko", "net/tun.ko"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, err := m.Order("virtio_net", "nosuch"); err == nil {
		t.Errorf("got %q for a module that is not there", got)
	}
}

func TestIndexesAreThoseOfModprobe(t *testing.T) {
	t.Parallel()
	dir := someModules(t)
	m, err := ReadModules(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.WriteIndexes(); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"modules.dep": "net/tun.ko: \nvirtio/virtio.ko: \n" +
			"net/virtio-net.ko: virtio/virtio_ring.ko virtio/virtio.ko\nvirtio/virtio_ring.ko: virtio/virtio.ko\n",
		"modules.alias":   "alias char-major-10-200 tun\nalias virtio:d00000001v* virtio_net\n",
		"modules.devname": "tun net/tun c10:200\n",
	} {
		got, err := os.ReadFile(filepath.Join(dir, file))
		if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", file, err, diff)
		}
	}
}

func TestWhatIsNoModuleIsNamed(t *testing.T) {
	t.Parallel()
	if _, err := ReadModules(t.TempDir()); err == nil {
		t.Error("a directory without modules was taken")
	}
	dir := someModules(t)
	if err := os.WriteFile(filepath.Join(dir, "bad.ko"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadModules(dir); err == nil || !strings.Contains(err.Error(), "bad.ko") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyTheSignatureIsTakenOff(t *testing.T) {
	t.Parallel()
	body := []byte("\x7fELF module")
	header := append(make([]byte, signedHeader-4), 0, 0, 0, 3)
	signed := slices.Concat(body, []byte("sig"), header, []byte(signedLine))
	tooLarge := slices.Concat(body, append(make([]byte, signedHeader-4), 0, 1, 0, 0), []byte(signedLine))
	for name, tt := range map[string]struct{ in, want []byte }{
		"signed": {signed, body}, "unsigned": {body, body}, "only the line": {[]byte(signedLine), []byte(signedLine)}, "a size that can't be": {tooLarge, tooLarge},
	} {
		if got := Unsigned(tt.in); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestKernelIsTheOneThatTheMetaPackageDependsOn(t *testing.T) {
	t.Parallel()
	const depends = "linux-image-cloud-amd64\n  Depends: something\n  Depends: linux-image-6.1.0-56-cloud-amd64\n"
	if got, err := dependency(depends); err != nil || got != "linux-image-6.1.0-56-cloud-amd64" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := dependency("linux-image-cloud-amd64\n  Suggests: linux-image-x\n"); err == nil {
		t.Errorf("got %q", got)
	}
}
