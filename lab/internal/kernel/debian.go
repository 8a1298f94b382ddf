// Package kernel gets Debian's kernel for virtual machines, and makes of its
// package what an emulator and Firecracker boot, and modules that load fast.
package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/smartvm/smartvm/internal/proc"
)

// metaPackage depends on the newest kernel for virtual machines.
const metaPackage = "linux-image-cloud-amd64"

// Package is a kernel that Debian has.
type Package struct {
	Name string // such as linux-image-6.1.0-56-cloud-amd64
	// File is the name of the file that it comes in, without .deb; it has the version
	// as well.
	File string
}

// Newest asks apt, which may have to get its lists first.
func Newest(ctx context.Context) (Package, error) {
	p, err := newest(ctx)
	if err == nil || os.Geteuid() != 0 {
		return p, err
	}
	apt, err := proc.Find("apt-get", "apt")
	if err != nil {
		return Package{}, err
	}
	if err := proc.Run(ctx, proc.Command{Path: apt, Args: []string{"-qq", "update"}, Env: os.Environ()}); err != nil {
		return Package{}, fmt.Errorf("apt-get update: %w", err)
	}
	return newest(ctx)
}

func newest(ctx context.Context) (Package, error) {
	cache, err := proc.Find("apt-cache", "apt")
	if err != nil {
		return Package{}, fmt.Errorf("%w; the lab builds its machine from packages of Debian 12", err)
	}
	out, err := proc.Output(ctx, cache, "depends", metaPackage)
	if err != nil {
		return Package{}, fmt.Errorf("apt-cache depends %s: %w (does apt know Debian 12? try apt-get update)", metaPackage, err)
	}
	name, err := dependency(string(out))
	if err != nil {
		return Package{}, err
	}
	apt, err := proc.Find("apt-get", "apt")
	if err != nil {
		return Package{}, err
	}
	if out, err = proc.Output(ctx, apt, "download", "--print-uris", name); err != nil {
		return Package{}, fmt.Errorf("apt-get download %s: %w", name, err)
	}
	fields := strings.Fields(string(out)) // 'URL' FILE SIZE HASH
	if len(fields) < 2 || !strings.HasSuffix(fields[1], ".deb") || strings.Contains(fields[1], "/") {
		return Package{}, fmt.Errorf("apt-get does not say where %s is: %q", name, out)
	}
	return Package{name, strings.TrimSuffix(fields[1], ".deb")}, nil
}

// dependency returns the kernel that the meta package stands for.
func dependency(depends string) (string, error) {
	for line := range strings.Lines(depends) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: ")
		if ok && strings.HasPrefix(name, "linux-image-") {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s depends on no kernel: %q", metaPackage, depends)
}

// Names in the directory that [Build] fills.
const (
	vmlinuxName = "vmlinux"
	releaseName = "release"
	modulesName = "modules"
)

// Kernel is a directory that [Build] has filled.
type Kernel struct{ Dir string }

// Vmlinux is the path of the uncompressed kernel.
func (k Kernel) Vmlinux() string { return filepath.Join(k.Dir, vmlinuxName) }

// Modules is the directory of its modules.
func (k Kernel) Modules() string { return filepath.Join(k.Dir, modulesName) }

// Release is what uname -r says.
func (k Kernel) Release() (string, error) {
	data, err := os.ReadFile(filepath.Join(k.Dir, releaseName))
	return strings.TrimSpace(string(data)), err
}

// Build downloads the package and fills dir.
func Build(ctx context.Context, p Package, dir string) (err error) {
	work, err := os.MkdirTemp(dir, ".package-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := unpack(ctx, p, work); err != nil {
		return err
	}
	images, err := filepath.Glob(filepath.Join(work, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return fmt.Errorf("%s has the kernels %q, not one", p.Name, images)
	}
	compressed, err := os.ReadFile(images[0])
	if err != nil {
		return err
	}
	vmlinux, err := Vmlinux(compressed)
	if err != nil {
		return fmt.Errorf("%s: %w", images[0], err)
	}
	release := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	k := Kernel{dir}
	if err := errors.Join(write(k.Vmlinux(), vmlinux), write(filepath.Join(dir, releaseName), []byte(release+"\n"))); err != nil {
		return err
	}
	return buildModules(filepath.Join(work, "lib", "modules", release), k.Modules())
}

// unpack puts the files of the package into dir.
func unpack(ctx context.Context, p Package, dir string) error {
	apt, err := proc.Find("apt-get", "apt")
	if err != nil {
		return err
	}
	dpkg, err := proc.Find("dpkg-deb", "dpkg")
	if err != nil {
		return err
	}
	// Else apt complains that its own user may not write here.
	download := []string{"-qq", "-o", "APT::Sandbox::User=root", "download", p.Name}
	if err := proc.Run(ctx, proc.Command{Path: apt, Args: download, Env: os.Environ(), Dir: dir}); err != nil {
		return fmt.Errorf("apt-get download %s: %w", p.Name, err)
	}
	file := filepath.Join(dir, p.File+".deb")
	// It runs tar and a decompressor.
	if err := proc.Run(ctx, proc.Command{Path: dpkg, Args: []string{"-x", file, dir}, Env: os.Environ()}); err != nil {
		return fmt.Errorf("dpkg-deb -x %s: %w", file, err)
	}
	return nil
}

// buildModules copies modules without their signatures, and indexes them.
func buildModules(from, to string) error {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, below)
		switch name := entry.Name(); {
		case entry.IsDir():
			return os.MkdirAll(target, 0o755) //nolint:gosec // nothing in it is a secret
		case !entry.Type().IsRegular() || !strings.HasSuffix(name, suffix) && !strings.HasPrefix(name, "modules."):
			return nil // build and source are links to what is not there
		}
		data, err := os.ReadFile(path) //nolint:gosec // nobody else changes what we have unpacked
		if err != nil {
			return err
		}
		return write(target, Unsigned(data))
	})
	if err != nil {
		return err
	}
	m, err := ReadModules(to)
	if err != nil {
		return err
	}
	return m.WriteIndexes()
}

func write(path string, data []byte) error {
	return os.WriteFile(path, data, 0o644) //nolint:gosec // nothing in it is a secret
}
