package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/vmconfig"
)

func TestLinuxBootsFromSquashfsAndShutsDown(t *testing.T) {
	claims(t, "S1.2", "A guest boots from a read-only squashfs, and can't write to it")
	claims(t, "S4.3", "A guest shuts down on Ctrl+Alt+Del, and that ends its VM")
	s := newSite(t, smartvm.Options{})
	vm, g := s.boot(s.config(baseimage.Squashfs))
	if g.Root() != "squashfs" {
		t.Errorf("its root file system is %s", g.Root())
	}
	if got := output(t, g, "cat /proc/sys/kernel/ostype; id -u"); got != "Linux\n0" {
		t.Errorf("the guest says %q", got)
	}
	result, err := g.Run(patient(t), "echo no >&2; echo >/bin/new")
	must(t, err)
	if result.Code == 0 || !strings.Contains(result.Stderr, "Read-only file system") {
		t.Errorf("a write to the read-only root gives %+v", result)
	}
	shutDown(t, vm)
}

func TestGuestsWritesToStagedDrivesDoNotReachTheirSources(t *testing.T) {
	claims(t, "S3.3", "A guest boots from ext4, and what it writes to its root or another drive reaches copies only")
	s := newSite(t, smartvm.Options{})
	config := s.config(baseimage.Ext4)
	disk := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(disk, make([]byte, 1<<20), 0o600))
	config.Drives = append(config.Drives, vmconfig.Drive{Drive: firecracker.Drive{DriveID: "disk", PathOnHost: disk}})
	before := sum(t, disk)

	vm, g := s.boot(config)
	if g.Root() != "ext4" {
		t.Errorf("its root file system is %s", g.Root())
	}
	if got := output(t, g, "echo mine >/root/proof && sync && cat /root/proof"); got != "mine" {
		t.Errorf("the guest reads %q from its root", got)
	}
	if got := output(t, g, "echo mine | dd of=/dev/vdb bs=512 conv=sync,fsync 2>/dev/null; head -c 4 /dev/vdb"); got != "mine" {
		t.Errorf("the guest reads %q from its second drive", got)
	}
	shutDown(t, vm)

	copies := make(map[string]string)
	for _, d := range vm.Drives() {
		copies[d.Source] = d.Path
	}
	if len(copies) != 2 || copies[config.Drives[0].PathOnHost] == "" || copies[disk] == "" || copies[disk] == disk {
		t.Fatalf("the staged drives are %v", copies)
	}
	if sum(t, copies[disk]) == before {
		t.Error("the write did not reach the copy either, so the test proves nothing")
	}
	if sum(t, disk) != before {
		t.Error("the guest has changed the source of its drive")
	}
}

func TestPackedBundleBootsOutOfTheCache(t *testing.T) {
	claims(t, "S8.5", "A bundle that was packed boots out of the cache of base images")
	s := newSite(t, smartvm.Options{})
	bundle, err := s.manager.EnsureBaseImage(patient(t), baseimage.Request{Manifest: s.kit.Manifest(baseimage.Squashfs)})
	must(t, err)
	vm, g := s.boot(smartvm.ImageConfig(bundle))
	if g.Root() != "squashfs" {
		t.Errorf("its root file system is %s", g.Root())
	}
	shutDown(t, vm)
}
