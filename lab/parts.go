package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/lab/internal/box"
	"github.com/smartvm/smartvm/lab/internal/kernel"
	"github.com/smartvm/smartvm/lab/internal/store"
)

// parts are what a machine and its guests are made of.
type parts struct {
	root    string // of the module
	store   *store.Store
	kernel  kernel.Kernel
	machine string // the entry of the machine
	kit     string // the entry of the guests
}

// machineParts is findParts for a machine that is to be booted on this host.
func (l *lab) machineParts(ctx context.Context, newest bool) (*parts, error) {
	if err := box.Check(); err != nil {
		return nil, unsuitable(err)
	}
	return l.findParts(ctx, newest)
}

func unsuitable(err error) error { return fmt.Errorf("this host can't run the lab: %w", err) }

// findParts makes what is missing. A kernel that is there is kept unless a newer one
// is asked for.
func (l *lab) findParts(ctx context.Context, newest bool) (*parts, error) {
	if err := suitable(); err != nil {
		return nil, unsuitable(err)
	}
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	p := &parts{root: root}
	if p.store, err = store.Open(filepath.Join(root, ".cache", "lab")); err != nil {
		return nil, err
	}
	if err := l.findKernel(ctx, p, newest); err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	in, err := p.findInputs(ctx)
	if err != nil {
		return nil, err
	}
	if p.machine, err = p.store.Ensure(ctx, in.machineKey(), func(dir string) error { return in.buildMachine(ctx, dir) }); err != nil {
		return nil, fmt.Errorf("machine: %w", err)
	}
	if p.kit, err = p.store.Ensure(ctx, in.kitKey(), func(dir string) error { return in.buildKit(ctx, dir) }); err != nil {
		return nil, fmt.Errorf("guest kit: %w", err)
	}
	return p, nil
}

// suitable says why this host can't run a lab, before anything is downloaded.
func suitable() error {
	switch {
	case runtime.GOARCH != "amd64":
		return fmt.Errorf("it is one for %s, and the lab is made of packages and a Firecracker for x86_64", runtime.GOARCH)
	case os.Geteuid() != 0:
		return errors.New("virtiofsd, which shares directories with the machine, needs root")
	}
	for program, debian := range map[string]string{
		"busybox": "busybox-static", "sqfstar": "squashfs-tools", "resize2fs": "e2fsprogs",
	} {
		if _, err := proc.Find(program, debian); err != nil {
			return err
		}
	}
	return nil
}

// moduleRoot is the directory of go.mod, here or above.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		text, gone := os.ReadFile(filepath.Join(dir, "go.mod"))
		if gone == nil && bytes.HasPrefix(text, []byte("module github.com/smartvm/smartvm\n")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", usageError{errors.New("run it in a directory of smartvm's sources")}
		}
	}
	return "", err
}

// kernelKind begins the names of kernels in the store. The number is that of the
// layout of such an entry.
const kernelKind = "kernel1"

func (l *lab) findKernel(ctx context.Context, p *parts, newest bool) error {
	if !newest {
		dir, err := p.store.Newest(kernelKind)
		if p.kernel = (kernel.Kernel{Dir: dir}); err != nil || dir != "" {
			return err
		}
	}
	pkg, err := kernel.Newest(ctx)
	if err != nil {
		return err
	}
	dir, err := p.store.Ensure(ctx, kernelKind+"-"+pkg.File, func(dir string) error {
		l.say("getting %s\n", pkg.File)
		return kernel.Build(ctx, pkg, dir)
	})
	p.kernel = kernel.Kernel{Dir: dir}
	return err
}

// inputs are the contents that the other entries are made of, and named by.
type inputs struct {
	kernel                kernel.Kernel
	labinit, guestinit    []byte
	busybox               []byte
	firecracker, jailer   []byte
	firecrackerPath, pack string
}

func (p *parts) findInputs(ctx context.Context) (in *inputs, err error) {
	in = &inputs{kernel: p.kernel}
	if err := in.compile(ctx, p.root); err != nil {
		return nil, err
	}
	busybox, err := proc.Find("busybox", "busybox-static")
	if err != nil {
		return nil, err
	}
	if in.busybox, err = readStatic(busybox); err != nil {
		return nil, fmt.Errorf("%w: apt install busybox-static", err)
	}
	if in.firecrackerPath, in.firecracker, err = get(ctx, p.root, "firecracker"); err != nil {
		return nil, err
	}
	_, in.jailer, err = get(ctx, p.root, "jailer")
	return in, err
}

// compile builds the programs of the machine and of guests, and asks what the code
// is that packs images. The Go command has a cache of its own for all of that.
func (in *inputs) compile(ctx context.Context, root string) (err error) {
	dir, err := os.MkdirTemp("", "smartvm-lab-build-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out, err := goOutput(ctx, root, "list", "-export", "-f", "{{.BuildID}}", "./baseimage")
	if err != nil {
		return err
	}
	in.pack = strings.TrimSpace(string(out))
	_, err = goOutput(ctx, root, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", dir+"/",
		"./lab/internal/labinit", "./lab/internal/guestinit")
	if err != nil {
		return err
	}
	if in.labinit, err = os.ReadFile(filepath.Join(dir, "labinit")); err != nil {
		return err
	}
	in.guestinit, err = os.ReadFile(filepath.Join(dir, "guestinit"))
	return err
}

// get returns the path and the content of a program that scripts/get-firecracker finds.
func get(ctx context.Context, root, name string) (path string, data []byte, err error) {
	script := filepath.Join(root, "scripts", "get-firecracker")
	out, err := proc.Command{Path: script, Args: []string{name}, Env: os.Environ(), Dir: root}.Output(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("%s %s: %w", script, name, err)
	}
	path = strings.TrimSpace(string(out))
	data, err = readStatic(path)
	return path, data, err
}
