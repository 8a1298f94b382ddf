package smartvm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/vmconfig"
)

// bundle puts a base image of the hello guest into a manager's cache.
func bundle(t *testing.T, m *smartvm.Manager, id, version, words string) *baseimage.Bundle {
	t.Helper()
	return bundleWith(t, m, id, version, words, nil)
}

// bundleWith is bundle with an initrd, unless that is nil.
func bundleWith(t *testing.T, m *smartvm.Manager, id, version, words string, initrd []byte) *baseimage.Bundle {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "vmlinux"), hello.Image())
	write(t, filepath.Join(dir, "rootfs.squashfs"), append([]byte("hsqs"), make([]byte, 4092)...))
	manifest := map[string]any{
		"schemaVersion": 1, "bundleId": id, "name": "the hello guest", "arch": "x86_64", "firecrackerVersion": version,
		"rootfsType": "squashfs", "rootfsIsReadOnly": true, "bootArgs": words,
		"kernel": map[string]any{"path": "vmlinux", "fileName": "vmlinux"},
		"rootfs": map[string]any{"path": "rootfs.squashfs", "fileName": "rootfs.squashfs"},
	}
	if initrd != nil {
		write(t, filepath.Join(dir, "initrd.img"), initrd)
		manifest["initrd"] = map[string]any{"path": "initrd.img", "fileName": "initrd.img"}
	}
	text, err := json.Marshal(manifest)
	must(t, err)
	write(t, filepath.Join(dir, "manifest.json"), text)
	b, err := m.EnsureBaseImage(patient(t), baseimage.Request{Manifest: filepath.Join(dir, "manifest.json")})
	must(t, err)
	return b
}

// imageSite is bootSite with an empty cache of base images that stays.
func imageSite(t *testing.T) *site {
	t.Helper()
	return bootSiteWith(t, smartvm.Options{BaseImageDir: filepath.Join(shortDir(t), "images"), BaseImageRetention: 1})
}

// version returns the release of the Firecracker that is tested with.
func (s *site) version() firecracker.Version {
	s.t.Helper()
	b, err := s.EnsureBinary(patient(s.t))
	must(s.t, err)
	return b.Version
}

func TestBaseImageBootsWithItsArguments(t *testing.T) {
	s := imageSite(t)
	b := bundle(t, s.Manager, "hello-v1", s.version().String(), "console=ttyS0 "+hello.Stay)
	vm := s.bootConfig(smartvm.ImageConfig(b))
	follow(t, vm, smartvm.ConsoleOptions{}).find("console=ttyS0 " + hello.Stay)
	if drives := vm.Drives(); len(drives) > 0 {
		t.Errorf("a read-only root file system was copied: %+v", drives)
	}
}

// The hello guest has no use for an initrd, so what is looked at is the file that
// Firecracker was given.
func TestBaseImageBootsWithItsInitrd(t *testing.T) {
	s := imageSite(t)
	initrd := []byte("070701 no archive")
	b := bundleWith(t, s.Manager, "modular", s.version().String(), hello.Stay, initrd)
	vm := s.bootConfig(smartvm.ImageConfig(b))
	if got := vm.Config().BootSource.InitrdPath; got != b.Initrd.Path || got == "" {
		t.Errorf("the VM's initrd is %q, want %q", got, b.Initrd.Path)
	}
	client, err := vm.Client()
	must(t, err)
	used, err := client.VMConfig(patient(t))
	must(t, err)
	path := filepath.Join(fmt.Sprintf("/proc/%d/root", s.pid(vm)), used.BootSource.InitrdPath)
	if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, initrd) {
		t.Errorf("firecracker has %s, which is %q, %v", path, data, err)
	}
}

func TestInitrdOfABaseImageKeepsIt(t *testing.T) {
	s := imageSite(t)
	b := bundleWith(t, s.Manager, "modular", s.version().String(), hello.Stay, []byte("070701 no archive"))
	config := s.config(hello.Stay)
	config.BootSource.InitrdPath = b.Initrd.Path // and nothing else of it
	vm := s.bootConfig(config)
	uses, err := os.ReadDir(filepath.Join(filepath.Dir(b.Initrd.Path), "uses"))
	if err != nil || len(uses) != 1 {
		t.Errorf("uses %v, %v, want one", uses, err)
	}
	must(t, vm.Cleanup(patient(t)))
}

func TestBaseImageWithoutAnInitrdBootsWithoutOne(t *testing.T) {
	t.Parallel()
	config := smartvm.ImageConfig(&baseimage.Bundle{Kernel: baseimage.Artifact{Path: "/k"}, Rootfs: baseimage.Artifact{Path: "/r"}})
	if config.BootSource.InitrdPath != "" {
		t.Errorf("got %+v", config.BootSource)
	}
}

func TestBaseImageStaysWhileAVMUsesIt(t *testing.T) {
	s := imageSite(t)
	first := bundle(t, s.Manager, "first", s.version().String(), hello.Stay)
	vm := s.bootConfig(smartvm.ImageConfig(first))
	must(t, vm.Detach(patient(t), nil))
	must(t, s.Close()) // its leases are gone, the VM's pin is not
	s.Manager = s.another()
	bundle(t, s.Manager, "second", s.version().String(), hello.Stay) // one more than are kept
	if _, err := os.Stat(first.Kernel.Path); err != nil {
		t.Fatalf("a base image in use was evicted: %v", err)
	}
	if err := s.BaseImages().Remove(patient(t), first.ID); err == nil {
		t.Error("a base image in use was removed")
	}
	adopted, err := s.Adopt(patient(t), vm.ID())
	must(t, err)
	must(t, adopted.Cleanup(patient(t)))
	evicted, err := s.BaseImages().Prune(patient(t), "second")
	if err != nil || !slices.Equal(evicted, []string{"first"}) {
		t.Errorf("evicted %q, %v, want the one that no VM uses any more", evicted, err)
	}
}

func TestBaseImageStaysWhileASnapshotNeedsIt(t *testing.T) {
	s := imageSite(t)
	first := bundle(t, s.Manager, "first", s.version().String(), hello.Stay)
	vm := s.bootConfig(smartvm.ImageConfig(first))
	_, err := vm.Snapshot(patient(t), "warm", smartvm.SnapshotOptions{})
	must(t, err)
	must(t, vm.Cleanup(patient(t)))
	evict := func(newer string) error { // what nobody needs: one is kept in any case
		must(t, s.Close()) // with its leases
		s.Manager = s.another()
		bundle(t, s.Manager, newer, s.version().String(), hello.Stay)
		_, err := os.Stat(first.Rootfs.Path)
		return err
	}
	must(t, evict("second"))
	restored, err := s.Restore(patient(t), "warm", smartvm.RestoreOptions{})
	must(t, err)
	must(t, restored.Cleanup(patient(t)))
	must(t, s.Snapshots().Remove(patient(t), "warm"))
	if err := evict("third"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("although nothing needs it any more, the base image is there: %v", err)
	}
}

func TestBaseImageOfALinkedCacheIsPinned(t *testing.T) {
	cache, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(cache, link))
	s := bootSiteWith(t, smartvm.Options{BaseImageDir: link})
	b := bundle(t, s.Manager, "hello-v1", s.version().String(), hello.Stay)
	vm := s.bootConfig(smartvm.ImageConfig(b))
	list, err := filepath.Glob(filepath.Join(cache, b.ID, "uses", "*"))
	if err != nil || len(list) != 1 {
		t.Errorf("pins %q, %v, want one", list, err)
	}
	must(t, vm.Cleanup(patient(t)))
}

func TestFileBesideTheBundlesBoots(t *testing.T) {
	s := imageSite(t)
	for _, dir := range []string{"mine", ".locks"} {
		config := s.config(hello.Stay)
		config.BootSource.KernelImagePath = filepath.Join(s.opts.BaseImageDir, dir, "kernel")
		must(t, os.MkdirAll(filepath.Dir(config.BootSource.KernelImagePath), 0o700))
		write(t, config.BootSource.KernelImagePath, hello.Image())
		vm := s.bootConfig(config)
		must(t, vm.Cleanup(patient(t)))
	}
}

func TestFailedStartLetsItsBaseImageGo(t *testing.T) {
	s := imageSite(t)
	b := bundle(t, s.Manager, "hello-v1", s.version().String(), hello.Stay)
	config := smartvm.ImageConfig(b)
	config.Drives = append(config.Drives, vmconfig.Drive{Drive: firecracker.Drive{DriveID: "root2", PathOnHost: b.Rootfs.Path, IsReadOnly: true, CacheType: "Writeback"}})
	config.MachineConfig = &firecracker.MachineConfig{VCPUCount: 1, MemSizeMiB: 1} // too little for the kernel
	vm := s.create("", config)
	if err := vm.Start(patient(t)); err == nil {
		t.Fatal("a guest without memory boots")
	}
	uses, err := os.ReadDir(filepath.Join(filepath.Dir(b.Kernel.Path), "uses"))
	if err != nil || len(uses) > 0 {
		t.Errorf("uses are left: %v, %v", uses, err)
	}
}

func TestConfigNamesTheReleaseToBootOn(t *testing.T) {
	s := imageSite(t)
	config := s.config(hello.Stay)
	config.FirecrackerVersion = firecracker.Version{Major: 1, Minor: 99}
	vm := s.create("", config)
	wantUndone(t, vm, vm.Start(patient(t)), smartvm.Code("BINARY_UNUSABLE"))
	config.FirecrackerVersion = s.version()
	if vm := s.bootConfig(config); vm.State() != smartvm.Running {
		t.Errorf("state is %s", vm.State())
	}
}

func TestOfflineManagerSaysWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	s := newSite(t, smartvm.Options{Offline: true, BaseImageDir: filepath.Join(shortDir(t), "images")})
	_, err := s.EnsureBinary(patient(t))
	wantCode(t, err, "BINARY_NOT_FOUND")
	_, err = s.EnsureBaseImage(patient(t), baseimage.Request{Preset: baseimage.LTS})
	if code := codeOf(err); code != "BASE_IMAGE_RESOLVE_FAILED" && code != "BASE_IMAGE_PREPARE_FAILED" || hintOf(err) == "" {
		t.Errorf("got %v (%s), want the missing image and a hint", err, code)
	}
	if errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cache's absence is the error: %v", err)
	}
}
