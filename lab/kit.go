package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/lab/internal/cpio"
	"github.com/smartvm/smartvm/lab/internal/guestline"
	"github.com/smartvm/smartvm/lab/internal/kernel"
	"github.com/smartvm/smartvm/lab/internal/store"
)

// Modules of guests: see [guestline.Plan]. The numbers are those of virtio devices.
var (
	guestAlways  = []string{"virtio_mmio"}
	guestDevices = map[string]string{
		"1": "virtio_net", "2": "virtio_blk", "4": "virtio_rng", "5": "virtio_balloon", "19": "vmw_vsock_virtio_transport",
	}
	guestFileSystems = map[string]string{"squashfs": "squashfs"}
)

// guestArgs are for a guest that boots fast and says nothing by itself: each byte on
// the serial console costs a trip out of two machines. Devices that Firecracker does
// not have are not looked for, and what takes longest and nobody here needs is left out:
// a table of probes, and a self-test of keys.
const guestArgs = "console=ttyS0 reboot=k panic=-1 quiet loglevel=1 mitigations=off tsc=reliable no_timer_check nokaslr audit=0 selinux=0 " +
	"apparmor=0 cryptomgr.notests rcupdate.rcu_expedited=1 random.trust_cpu=on pci=off 8250.nr_uarts=1 i8042.noaux i8042.nomux i8042.dumbkbd " +
	"initcall_blacklist=init_kprobe_trace,crypto_kdf108_init"

func (in *inputs) kitKey() string {
	return store.Key(kitKind, []byte(filepath.Base(in.kernel.Dir)), in.guestinit, in.busybox, in.firecracker, []byte(in.pack), []byte(guestArgs))
}

// buildKit fills the entry of the guests; see [guest.Kit].
func (in *inputs) buildKit(ctx context.Context, dir string) error {
	initrd := filepath.Join(dir, "initrd.img")
	if err := in.writeInitrd(initrd); err != nil {
		return err
	}
	rootfs, err := in.rootfs(ctx)
	if err != nil {
		return err
	}
	firecracker, err := image.Inspect(ctx, in.firecrackerPath)
	if err != nil {
		return err
	}
	for kind, mode := range map[baseimage.RootfsType]string{baseimage.Squashfs: " rootfstype=squashfs ro", baseimage.Ext4: " rootfstype=ext4 rw"} {
		_, err := baseimage.Pack(ctx, baseimage.PackOptions{
			ID: "lab-" + string(kind), FirecrackerVersion: firecracker.Version, Kernel: in.kernel.Vmlinux(), Initrd: initrd,
			BootArgs: guestArgs + mode, Dir: filepath.Join(dir, string(kind)),
			RootfsOptions: baseimage.RootfsOptions{Tar: bytes.NewReader(rootfs), RootfsType: kind},
		})
		if err != nil {
			return err
		}
	}
	return os.Remove(initrd) // each bundle has it
}

// writeInitrd writes the initrd of guests: their first process and the modules that
// it may have to load.
func (in *inputs) writeInitrd(file string) error {
	modules, err := kernel.ReadModules(in.kernel.Modules())
	if err != nil {
		return err
	}
	plan, paths, err := planModules(modules)
	if err != nil {
		return err
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	return writeArchive(file, func(w *cpio.Writer) error {
		for _, d := range []string{"dev", "proc", "sys", "root", "modules"} {
			w.Dir(d)
		}
		w.File("init", 0o755, in.guestinit)
		w.File(guestline.PlanPath[1:], 0o644, text)
		for _, name := range slices.Sorted(maps.Keys(paths)) {
			data, err := os.ReadFile(filepath.Join(in.kernel.Modules(), paths[name]))
			if err != nil {
				return err
			}
			w.File(name[1:], 0o644, data)
		}
		return nil
	})
}

// planModules returns the plan, and the modules of the kernel by the names that the
// plan has for them.
func planModules(modules *kernel.Modules) (plan guestline.Plan, paths map[string]string, err error) {
	paths = make(map[string]string)
	order := func(names ...string) (files []string) {
		found, lack := modules.Order(names...)
		err = errors.Join(err, lack)
		for _, below := range found {
			name := "/modules/" + path.Base(below)
			paths[name] = below
			files = append(files, name)
		}
		return files
	}
	plan = guestline.Plan{Always: order(guestAlways...), Devices: make(map[string][]string), FileSystems: make(map[string][]string)}
	for number, name := range guestDevices {
		plan.Devices[number] = order(name)
	}
	for kind, name := range guestFileSystems {
		plan.FileSystems[kind] = order(name)
	}
	return plan, paths, err
}

// rootfs returns the root file system of guests as a tar: busybox, and guestinit as
// their first process.
func (in *inputs) rootfs(ctx context.Context) (archive []byte, err error) {
	dir, err := os.MkdirTemp("", "smartvm-lab-busybox-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.WriteFile(filepath.Join(dir, "busybox"), in.busybox, 0o700); err != nil { //nolint:gosec // a program
		return nil, err
	}
	names, err := applets(ctx, dir)
	if err != nil {
		return nil, err
	}
	t := newTree()
	t.dirs("bin", "dev", "etc", "mnt", "proc", "root", "run", "sbin", "sys", "tmp", "var")
	t.file("bin/busybox", 0o755, in.busybox)
	for _, name := range names {
		if name != "init" && name != "busybox" {
			t.link("bin/"+name, "busybox")
		}
	}
	t.file("sbin/init", 0o755, in.guestinit)
	for _, tool := range []string{"vsock", "udp", "frame"} {
		t.link("bin/"+tool, "../sbin/init")
	}
	t.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	t.file("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"))
	t.file("etc/hosts", 0o644, []byte("127.0.0.1 localhost guest\n"))
	t.link("etc/resolv.conf", "/run/resolv.conf") // tests write it, also where the root is read-only
	return t.close()
}

// tree is a tar of files that all belong to root. The first error sticks.
type tree struct {
	data bytes.Buffer
	tar  *tar.Writer
	err  error
}

func newTree() *tree {
	t := new(tree)
	t.tar = tar.NewWriter(&t.data)
	return t
}

func (t *tree) add(h tar.Header, data []byte) {
	if t.err != nil {
		return
	}
	h.Size = int64(len(data))
	if t.err = t.tar.WriteHeader(&h); t.err == nil {
		_, t.err = t.tar.Write(data)
	}
	if t.err != nil {
		t.err = fmt.Errorf("%s: %w", h.Name, t.err)
	}
}

func (t *tree) dirs(names ...string) {
	for _, name := range names {
		t.add(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, nil)
	}
}

func (t *tree) file(name string, mode int64, data []byte) {
	t.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, data)
}

func (t *tree) link(name, target string) {
	t.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

func (t *tree) close() ([]byte, error) {
	err := errors.Join(t.err, t.tar.Close())
	return t.data.Bytes(), err
}
