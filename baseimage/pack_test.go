package baseimage_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
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
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/hosttest"
)

// elfKernel is the header of an ELF file, which is all that is looked at.
func elfKernel(machine elf.Machine, kind elf.Type) []byte {
	h := elf.Header64{Type: uint16(kind), Machine: uint16(machine), Version: 1, Ehsize: 64, Phentsize: 56, Shentsize: 64}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		panic(err)
	}
	return append(b.Bytes(), make([]byte, 1000)...)
}

func vmlinux() []byte { return elfKernel(elf.EM_X86_64, elf.ET_EXEC) }

// marked is a file of zeros with a mark in it.
func marked(at int, mark string) []byte {
	data := make([]byte, 4096)
	copy(data[at:], mark)
	return data
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// packOptions are good ones for a bundle of a directory.
func packOptions(t *testing.T) baseimage.PackOptions {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "tree", "sbin", "init"), []byte("#!/bin/sh\n"))
	return baseimage.PackOptions{
		ID: "mine-1", FirecrackerVersion: firecracker.Version{Major: 1, Minor: 12, Patch: 1},
		Kernel: write(t, filepath.Join(dir, "kernel"), vmlinux()), Dir: filepath.Join(dir, "out", "bundle"),
		RootfsOptions: baseimage.RootfsOptions{Rootfs: filepath.Join(dir, "tree")},
	}
}

// checkBundle compares a bundle with its manifest, and that with what Pack returned.
func checkBundle(t *testing.T, dir string, m *baseimage.Manifest) {
	t.Helper()
	path := filepath.Join(dir, "manifest.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := baseimage.ParseManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, parsed); diff != "" {
		t.Errorf("the file and what was returned (-returned +file):\n%s", diff)
	}
	resolved, err := parsed.Resolve(path)
	if err != nil {
		t.Fatal(err)
	}
	files := []baseimage.ArtifactManifest{resolved.Kernel, resolved.Rootfs}
	if m.Initrd != (baseimage.ArtifactManifest{}) {
		files = append(files, resolved.Initrd)
	}
	for _, a := range files {
		content, err := os.ReadFile(strings.TrimPrefix(a.URL, "file://"))
		if err != nil || int64(len(content)) != a.SizeBytes || fmt.Sprintf("%x", sha256.Sum256(content)) != a.SHA256 {
			t.Errorf("%s has %d bytes, %v; not what the manifest says: %+v", a.URL, len(content), err, a)
		}
	}
	if hosted, err := parsed.Resolve("https://example.com/a/manifest.json"); err != nil || hosted.Kernel.URL != "https://example.com/a/vmlinux" {
		t.Errorf("it can't be hosted: %+v, %v", hosted, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1+len(files) {
		t.Errorf("the bundle has %v, %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the bundle has mode %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
		t.Errorf("beside the bundle: %v, %v", left, err)
	}
}

func TestPackedBundleIsWhatItsManifestSays(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Tool("sqfstar"))
	o := packOptions(t)
	tasks := new(tally)
	o.Progress = tasks
	if err := os.MkdirAll(o.Dir, 0o700); err != nil { // it may exist if it is empty
		t.Fatal(err)
	}
	m, err := baseimage.Pack(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	checkBundle(t, o.Dir, m)
	want := baseimage.Manifest{
		SchemaVersion: 1, BundleID: "mine-1", Name: "mine-1", Arch: "x86_64", FirecrackerVersion: o.FirecrackerVersion,
		RootfsType: baseimage.Squashfs, RootfsIsReadOnly: true, BootArgs: baseimage.DefaultBootArgs(baseimage.Squashfs, true),
		Kernel: m.Kernel, Rootfs: m.Rootfs,
	}
	if diff := cmp.Diff(&want, m); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantTasks := map[string]int{"rootfs.squashfs": 0, "rootfs.squashfs sha256": 0, "vmlinux sha256": 0}
	if diff := cmp.Diff(wantTasks, tasks.open); diff != "" {
		t.Errorf("tasks that are still under way (-want +got):\n%s", diff)
	}
}

// tally counts the tasks that have begun and not ended.
type tally struct {
	sync.Mutex

	open map[string]int
}

func (c *tally) add(name string, n int) {
	c.Lock()
	defer c.Unlock()
	if c.open == nil {
		c.open = make(map[string]int)
	}
	c.open[name] += n
}

func (c *tally) Begin(name string, _ int64) fetch.Task {
	c.add(name, 1)
	return counted{c, name}
}

type counted struct {
	tally *tally
	name  string
}

func (counted) Set(int64, int64) {}

func (c counted) End(error) { c.tally.add(c.name, -1) }

func TestPackedTarOfAStreamBecomesExt4(t *testing.T) {
	t.Parallel()
	var stream bytes.Buffer
	w := tar.NewWriter(&stream)
	if err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "sbin", Mode: 0o755}), w.Close()); err != nil {
		t.Fatal(err)
	}
	o := packOptions(t)
	o.Rootfs, o.Tar, o.RootfsType, o.SizeMiB = "", &stream, baseimage.Ext4, 80
	m, err := baseimage.Pack(t.Context(), o)
	if errors.Is(err, errcode.HostUnsupported) {
		hosttest.Need(t, hosttest.Tool("resize2fs"))
	}
	if err != nil {
		t.Fatal(err)
	}
	checkBundle(t, o.Dir, m)
	if m.RootfsIsReadOnly || m.Rootfs.SizeBytes != 80<<20 || !strings.Contains(m.BootArgs, " rw") {
		t.Errorf("got %+v, want a writable one of 80 MiB", m)
	}
}

func TestImageIsTakenAsItIs(t *testing.T) {
	t.Parallel()
	for kind, data := range map[baseimage.RootfsType][]byte{
		baseimage.Squashfs: marked(0, "hsqs"),
		baseimage.Ext4:     marked(0x438, "\x53\xef"),
	} {
		o := packOptions(t)
		o.Rootfs = write(t, filepath.Join(t.TempDir(), "image"), data)
		o.BootArgs = "console=ttyS0"
		m, err := baseimage.Pack(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		checkBundle(t, o.Dir, m)
		got, err := os.ReadFile(filepath.Join(o.Dir, m.Rootfs.FileName))
		if err != nil || !bytes.Equal(got, data) || m.RootfsType != kind || m.RootfsIsReadOnly != (kind == baseimage.Squashfs) || m.BootArgs != o.BootArgs {
			t.Errorf("%s: got %+v, %v", kind, m, err)
		}
	}
}

func TestInitrdIsPackedAsItIsAndBootsFromTheCache(t *testing.T) {
	t.Parallel()
	o, tasks, data := packOptions(t), new(tally), []byte("070701 and so on")
	o.Rootfs = write(t, filepath.Join(t.TempDir(), "image"), marked(0, "hsqs"))
	o.Initrd = write(t, filepath.Join(t.TempDir(), "initrd.img-6.1.0-cloud"), data)
	o.Progress = tasks
	m, err := baseimage.Pack(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	checkBundle(t, o.Dir, m)
	want := baseimage.ArtifactManifest{URL: "initrd.img", FileName: "initrd.img", SHA256: sum(data), SizeBytes: int64(len(data))}
	if diff := cmp.Diff(want, m.Initrd); diff != "" {
		t.Error(diff)
	}
	if got, err := os.ReadFile(filepath.Join(o.Dir, "initrd.img")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the initrd is %q, %v", got, err)
	}
	if n, told := tasks.open["initrd.img sha256"]; n != 0 || !told {
		t.Errorf("tasks: %v", tasks.open)
	}
	s := open(t, baseimage.Options{CacheDir: cacheDir(t)})
	b := ensure(t, s, baseimage.Request{Manifest: filepath.Join(o.Dir, "manifest.json")})
	holdsFile(t, b.Initrd, data)
}

func TestKernelHasToBeOneThatFirecrackerBoots(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kernel     []byte
		asked      string
		arch, hint string // either of them
	}{
		"vmlinux":            {kernel: vmlinux(), arch: "x86_64"},
		"vmlinux, asked for": {kernel: vmlinux(), asked: "x86_64", arch: "x86_64"},
		"Image":              {kernel: marked(56, "ARM\x64"), arch: "aarch64"},
		"Image with EFI":     {kernel: append([]byte("MZ"), marked(54, "ARM\x64")...), arch: "aarch64"},
		"another arch":       {kernel: vmlinux(), asked: "aarch64", hint: "for x86_64, not for aarch64"},
		"bzImage":            {kernel: marked(0x202, "HdrS"), hint: "extract-vmlinux"},
		"gzip":               {kernel: marked(0, "\x1f\x8b"), hint: "gzip -dc"},
		"ELF for aarch64":    {kernel: elfKernel(elf.EM_AARCH64, elf.ET_EXEC), hint: "arch/arm64/boot/Image"},
		"ELF for RISC-V":     {kernel: elfKernel(elf.EM_RISCV, elf.ET_EXEC), hint: "EM_RISCV"},
		"object file":        {kernel: elfKernel(elf.EM_X86_64, elf.ET_REL), hint: "ET_REL"},
		"cut ELF":            {kernel: vmlinux()[:20], hint: "damaged"},
		"empty":              {kernel: nil, hint: "recognised"},
		"text":               {kernel: []byte("hello"), hint: "recognised"},
	} {
		o := packOptions(t)
		write(t, o.Kernel, tt.kernel)
		o.Arch = tt.asked
		o.Rootfs = write(t, filepath.Join(t.TempDir(), "image"), marked(0, "hsqs"))
		m, err := baseimage.Pack(t.Context(), o)
		if tt.arch != "" {
			if err != nil || m.Arch != tt.arch {
				t.Errorf("%s: got %+v, %v, want %s", name, m, err, tt.arch)
			}
			continue
		}
		if !errors.Is(err, errcode.InvalidConfig) || !strings.Contains(err.Error(), tt.hint) {
			t.Errorf("%s: got %v, want INVALID_CONFIG that says %q", name, err, tt.hint)
		}
		checkNothing(t, o.Dir)
	}
}

// checkNothing wants no bundle, and nothing beside it.
func checkNothing(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(filepath.Dir(dir)); err == nil && len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAllMistakesInPackOptionsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	full := filepath.Dir(write(t, filepath.Join(t.TempDir(), "full", "file"), nil))
	squashfs := write(t, filepath.Join(t.TempDir(), "image"), marked(0, "hsqs"))
	for name, tt := range map[string]struct {
		change func(*baseimage.PackOptions)
		fields []string
	}{
		"nothing":                {func(o *baseimage.PackOptions) { *o = baseimage.PackOptions{} }, []string{"dir", "firecrackerVersion", "id", "kernel", "rootfs"}},
		"missing":                {func(o *baseimage.PackOptions) { o.Kernel, o.Rootfs, o.Dir = missing, missing, full }, []string{"dir", "kernel", "rootfs"}},
		"a directory as kernel":  {func(o *baseimage.PackOptions) { o.Kernel = full }, []string{"kernel"}},
		"no initrd":              {func(o *baseimage.PackOptions) { o.Initrd = missing }, []string{"initrd"}},
		"a directory as initrd":  {func(o *baseimage.PackOptions) { o.Initrd = full }, []string{"initrd"}},
		"an empty initrd":        {func(o *baseimage.PackOptions) { o.Initrd = filepath.Join(full, "file") }, []string{"initrd"}},
		"a file as directory":    {func(o *baseimage.PackOptions) { o.Dir = o.Kernel }, []string{"dir"}},
		"two sources":            {func(o *baseimage.PackOptions) { o.Tar = strings.NewReader("") }, []string{"rootfs"}},
		"unknown type":           {func(o *baseimage.PackOptions) { o.RootfsType = "xfs" }, []string{"rootfsType"}},
		"size of squashfs":       {func(o *baseimage.PackOptions) { o.SizeMiB = 64 }, []string{"sizeMiB"}},
		"size of an image":       {func(o *baseimage.PackOptions) { o.Rootfs, o.SizeMiB = squashfs, 64 }, []string{"rootfs"}},
		"owners of an image":     {func(o *baseimage.PackOptions) { o.Rootfs, o.AllRoot = squashfs, true }, []string{"rootfs"}},
		"image of another type":  {func(o *baseimage.PackOptions) { o.Rootfs, o.RootfsType = squashfs, baseimage.Ext4 }, []string{"rootfsType"}},
		"image and stream":       {func(o *baseimage.PackOptions) { o.Rootfs, o.Tar = squashfs, strings.NewReader("") }, []string{"rootfs"}},
		"a bad id":               {func(o *baseimage.PackOptions) { o.ID = "../x" }, []string{"id"}},
		"no version":             {func(o *baseimage.PackOptions) { o.FirecrackerVersion = firecracker.Version{} }, []string{"firecrackerVersion"}},
		"unknown arch":           {func(o *baseimage.PackOptions) { o.Arch, o.Kernel = "arm64", missing }, []string{"arch", "kernel"}},
		"another arch, no image": {func(o *baseimage.PackOptions) { o.Arch, o.Rootfs = "aarch64", missing }, []string{"arch", "rootfs"}},
		"no kernel in the file":  {func(o *baseimage.PackOptions) { o.Kernel, o.Dir = squashfs, full }, []string{"dir", "kernel"}},
		"text with a new line":   {func(o *baseimage.PackOptions) { o.Name, o.BootArgs = "a\nb", "a\nb" }, []string{"bootArgs", "name"}},
		"larger than downloaded": {func(o *baseimage.PackOptions) { o.RootfsType, o.SizeMiB = baseimage.Ext4, 16385 }, []string{"sizeMiB"}},
	} {
		o := packOptions(t)
		tt.change(&o)
		_, err := baseimage.Pack(t.Context(), o)
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != errcode.InvalidConfig {
			t.Errorf("%s: got %v, want INVALID_CONFIG", name, err)
			continue
		}
		fields := make(map[string]bool)
		for _, d := range e.Details {
			fields[d.Field] = true
		}
		if got := slices.Sorted(maps.Keys(fields)); !slices.Equal(got, tt.fields) {
			t.Errorf("%s: mistakes in %v, want %v: %v", name, got, tt.fields, err)
		}
	}
}

func TestFailedPackLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx    context.Context //nolint:containedctx // of one case
		change func(*baseimage.PackOptions)
		code   errcode.Code
	}{
		"no tar":       {t.Context(), func(o *baseimage.PackOptions) { o.Rootfs, o.Tar = "", strings.NewReader("text") }, errcode.RootfsCreateFailed},
		"a device":     {t.Context(), func(o *baseimage.PackOptions) { o.Rootfs = os.DevNull }, errcode.RootfsCreateFailed},
		"cancelled":    {ctx, func(*baseimage.PackOptions) {}, errcode.Cancelled},
		"below a file": {t.Context(), func(o *baseimage.PackOptions) { o.Dir = filepath.Join(o.Kernel, "x", "y") }, errcode.InvalidConfig},
	} {
		o := packOptions(t)
		tt.change(&o)
		if _, err := baseimage.Pack(tt.ctx, o); !errors.Is(err, tt.code) {
			if errors.Is(err, errcode.HostUnsupported) {
				hosttest.Need(t, hosttest.Tool("sqfstar"))
			}
			t.Errorf("%s: got %v, want %s", name, err, tt.code)
		}
		checkNothing(t, filepath.Join(filepath.Dir(o.Kernel), "out", "bundle"))
	}
}

func TestPackRootfsMakesTheImageOnly(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Tool("sqfstar"))
	o := packOptions(t).RootfsOptions
	path := filepath.Join(t.TempDir(), "rootfs.squashfs")
	if err := baseimage.PackRootfs(t.Context(), path, o); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(data, []byte("hsqs")) {
		t.Errorf("got %.4q, %v", data, err)
	}
	if err := baseimage.PackRootfs(t.Context(), "", o); !errors.Is(err, errcode.InvalidConfig) {
		t.Errorf("without a path: got %v, want INVALID_CONFIG", err)
	}
	o.SizeMiB = 1
	if err := baseimage.PackRootfs(t.Context(), path, o); !errors.Is(err, errcode.InvalidConfig) {
		t.Errorf("got %v, want INVALID_CONFIG", err)
	}
}
