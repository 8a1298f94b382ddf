package main

import (
	"bufio"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/lab/internal/box"
	"github.com/smartvm/smartvm/lab/internal/cpio"
	"github.com/smartvm/smartvm/lab/internal/kernel"
	"github.com/smartvm/smartvm/lab/internal/link"
	"github.com/smartvm/smartvm/lab/internal/store"
)

// bootModules are what the machine needs to reach the lab program and its shares. All
// others come through a share.
var bootModules = []string{"virtio_pci", "virtio_console", "virtiofs"}

// loadModules are loaded once the machine is up. Others come when they are asked for,
// but nothing asks for the half of KVM that knows the processor, and tests want to see
// WireGuard before they do.
var loadModules = []string{"kvm_amd", "wireguard"}

// parameters are those of modules of the machine. KVM has an older way to map the memory
// of guests, which maps the neighbours of a page too. By the newer one a guest's boot
// leaves the guest seven times as often for a page that is not mapped yet, and the
// emulator begins anew to look up memory and code each time: it takes half as long again.
//
// KVM gives guests the frequency of the TSC that Linux knew when it was loaded. A second
// later Linux has measured it again, and where the two differ by more than 250 ppm KVM finds
// that it would have to scale the guests' TSC, which this processor can't: then it counts
// from 0 whenever it sets one of their timers, which so never rings in time.
var parameters = map[string]string{"kvm": "tdp_mmu=0 tsc_tolerance_ppm=100000"}

// Names in the entry of a machine.
const (
	initramfsName = "initramfs.img"
	programsName  = "bin"
)

// The formats of entries; a change of the code that writes one changes its number.
const (
	machineKind = "machine1"
	kitKind     = "guest2"
)

func (in *inputs) machineKey() string {
	return store.Key(machineKind, []byte(filepath.Base(in.kernel.Dir)), in.labinit, in.busybox, in.firecracker, in.jailer)
}

// buildMachine fills the entry of a machine: an initramfs, and the programs that it
// finds in a share.
func (in *inputs) buildMachine(ctx context.Context, dir string) error {
	modules, err := kernel.ReadModules(in.kernel.Modules())
	if err != nil {
		return err
	}
	order, err := modules.Order(bootModules...)
	if err != nil {
		return err
	}
	err = writeArchive(filepath.Join(dir, initramfsName), func(w *cpio.Writer) error {
		for _, d := range []string{"dev", "proc", "sys", "root", "modules"} {
			w.Dir(d)
		}
		w.File("init", 0o755, in.labinit)
		for i, path := range order {
			data, err := os.ReadFile(filepath.Join(in.kernel.Modules(), path))
			if err != nil {
				return err
			}
			w.File(fmt.Sprintf("modules/%02d-%s", i, filepath.Base(path)), 0o644, data)
		}
		return nil
	})
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, programsName)
	if err := os.Mkdir(bin, 0o755); err != nil { //nolint:gosec // nothing in it is a secret
		return err
	}
	for name, data := range map[string][]byte{"busybox": in.busybox, "firecracker": in.firecracker, "jailer": in.jailer} {
		if err := os.WriteFile(filepath.Join(bin, name), data, 0o755); err != nil { //nolint:gosec // programs
			return err
		}
	}
	return linkApplets(ctx, bin)
}

// writeArchive writes a cpio archive.
func writeArchive(path string, fill func(*cpio.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(f)
	w := cpio.NewWriter(buffered)
	return errors.Join(fill(w), w.Close(), buffered.Flush(), f.Close())
}

// applets asks the busybox in a directory what commands it is.
func applets(ctx context.Context, bin string) ([]string, error) {
	out, err := proc.Output(ctx, filepath.Join(bin, "busybox"), "--list")
	return strings.Fields(string(out)), err
}

func linkApplets(ctx context.Context, bin string) error {
	names, err := applets(ctx, bin)
	for _, name := range names {
		link := os.Symlink("busybox", filepath.Join(bin, name))
		if link != nil && !os.IsExist(link) {
			err = errors.Join(err, link)
		}
	}
	return err
}

// readStatic reads a program that needs no library.
func readStatic(path string) ([]byte, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s is not linked statically", path)
		}
	}
	return os.ReadFile(path)
}

// Where things are in the machine.
const (
	labPath    = "/lab"
	sourcePath = "/src"
)

// inside is the path in the machine of something in the store.
func (p *parts) inside(path string) string {
	return labPath + strings.TrimPrefix(path, p.store.Dir())
}

// machineOptions describe a machine of the parts.
func (p *parts) machineOptions() (box.Options, error) {
	release, err := p.kernel.Release()
	if err != nil {
		return box.Options{}, err
	}
	modules, err := kernel.ReadModules(p.kernel.Modules())
	if err != nil {
		return box.Options{}, err
	}
	order, err := modules.Order(loadModules...)
	if err != nil {
		return box.Options{}, err
	}
	var load []link.Module
	for _, path := range order {
		load = append(load, link.Module{Path: path, Parameters: parameters[kernel.ModuleName(path)]})
	}
	return box.Options{
		Vmlinux: p.kernel.Vmlinux(), Initramfs: filepath.Join(p.machine, initramfsName),
		Settings: link.Settings{
			Release: release, Modules: p.inside(p.kernel.Modules()), Programs: filepath.Join(p.inside(p.machine), programsName), Load: load,
		},
		Shares: []box.Share{{Host: p.store.Dir(), Guest: labPath, Constant: true}},
	}, nil
}

// environment is that of tests where everything is there that they could skip without.
// The path of something in the store is what at makes of it.
func (p *parts) environment(at func(string) string) []string {
	return []string{
		"SMARTVM_RUN_INTEGRATION=1", "SMARTVM_TEST_MUST=integration,kvm,root,firecracker,loop,cgroup,wireguard,guest",
		"SMARTVM_FIRECRACKER=" + at(filepath.Join(p.machine, programsName, "firecracker")),
		"SMARTVM_GUEST_KIT=" + at(p.kit),
	}
}
