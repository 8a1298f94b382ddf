package baseimage

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// PackOptions say what a bundle is made of.
type PackOptions struct {
	// ID, FirecrackerVersion, Kernel and Dir are required, and Rootfs or Tar.
	RootfsOptions

	ID   string // as in [Manifest]
	Name string // for people; default ID
	// Arch is what the kernel has to be made for; the default is whatever it is for.
	Arch               string
	FirecrackerVersion firecracker.Version // the release that the bundle is made for
	// Kernel is the path of an uncompressed kernel: vmlinux for x86_64, Image for
	// aarch64.
	Kernel string
	// Initrd is the path of an initrd, for a kernel that can't boot without one; the
	// default is none. It is taken as it is.
	Initrd string
	// BootArgs are the kernel arguments; the default is that of [DefaultBootArgs].
	BootArgs string
	// Dir is the directory to make. It must not exist, or be empty.
	Dir string
}

// Names in a bundle that was packed.
const (
	manifestFile = "manifest.json"
	kernelFile   = "vmlinux"
	rootfsFile   = "rootfs."
	initrdFile   = "initrd.img"
)

// Pack makes a bundle that can be hosted: a directory with a kernel, a root file
// system, perhaps an initrd, and manifest.json, which has their hashes and sizes and
// names them by URLs relative to itself, so that the directory can be served from
// anywhere. Files have mode 0644, the directory 0755. It appears in one step when all
// is whole and on the disk; after a failure nothing is left of it, and what a killed
// process leaves beside it is removed by the next call for the same parent directory.
//
// A root file system that is an image already is copied, and writable if it is
// ext4. Else see [PackRootfs], also for the errors, to which Pack adds
// INVALID_BASE_IMAGE_MANIFEST for files that are larger than a manifest may say and
// BASE_IMAGE_PREPARE_FAILED for what goes wrong with the directory. INVALID_CONFIG has
// all mistakes in the options, but for those that only packing finds.
func Pack(ctx context.Context, o PackOptions) (*Manifest, error) {
	p := &packing{PackOptions: o}
	if err := p.settle(); err != nil {
		return nil, err
	}
	var m *Manifest
	err := inNewDir(o.Dir, func(d *bundleDir) (err error) {
		m, err = p.fill(ctx, d)
		return err
	})
	if err != nil {
		return nil, packFailed(ctx, o.Dir, err)
	}
	return m, nil
}

func packFailed(ctx context.Context, dir string, err error) error {
	if ctx.Err() != nil && !errors.Is(err, errcode.Cancelled) {
		return &errcode.Error{Code: errcode.Cancelled, Op: opPack, Subject: dir, Err: context.Cause(ctx)}
	}
	if _, has := errors.AsType[*errcode.Error](err); has {
		return err
	}
	e := &errcode.Error{Code: errcode.BaseImagePrepareFailed, Op: opPack, Subject: dir, Err: err}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		e.Code, e.Hint = errcode.NoSpace, "free some room, or choose a directory on a larger file system"
	}
	return e
}

// packing is one bundle that is being made.
type packing struct {
	PackOptions

	image bool // Rootfs is an image already
}

// settle fills in what is known, and refuses what will not do.
func (p *packing) settle() error {
	found := p.unfit()
	add := func(field, message string) { found = append(found, errcode.Detail{Field: field, Message: message}) }
	kernel, hint := p.kernelMistakes()
	found = append(found, kernel...)
	if message := notContent(p.Initrd); message != "" && p.Initrd != "" {
		add("initrd", message)
	}
	if message := notFree(p.Dir); message != "" {
		add("dir", message)
	}
	has, err := p.look()
	switch {
	case err != nil:
		add("rootfs", err.Error())
	case has == "":
		p.RootfsType = cmp.Or(p.RootfsType, Squashfs)
		found = append(found, p.mistakes()...)
	case p.RootfsType != "" && p.RootfsType != has:
		add("rootfsType", "the image has "+string(has))
	case p.Tar != nil:
		add("rootfs", "is given twice, as a path and as a stream")
	case p.SizeMiB != 0 || p.AllRoot || !p.Latest.IsZero():
		add("rootfs", "is an image, in which nothing is changed: size, owners and times are for a directory or a tar")
	default:
		p.image, p.RootfsType = true, has
	}
	if len(found) > 0 {
		return &errcode.Error{Code: errcode.InvalidConfig, Op: opPack, Subject: p.Dir, Details: found, Hint: hint}
	}
	p.Name = cmp.Or(p.Name, p.ID)
	p.BootArgs = cmp.Or(p.BootArgs, DefaultBootArgs(p.RootfsType, p.readOnly()))
	return nil
}

// unfit is what the manifest could not hold, in the words of the options.
func (p *packing) unfit() []errcode.Detail {
	m := Manifest{
		SchemaVersion: schemaVersion, BundleID: p.ID, Name: cmp.Or(p.Name, "of the id"), Arch: cmp.Or(p.Arch, archX86),
		FirecrackerVersion: p.FirecrackerVersion, BootArgs: cmp.Or(p.BootArgs, DefaultBootArgs(Squashfs, true)),
	}
	options := map[string]string{
		"bundleId": "id", "name": "name", "arch": "arch", "firecrackerVersion": "firecrackerVersion", "bootArgs": "bootArgs",
	}
	var found []errcode.Detail
	for _, d := range m.mistakes() {
		if option, given := options[d.Field]; given {
			found = append(found, errcode.Detail{Field: option, Message: d.Message})
		}
	}
	return found
}

// kernelMistakes looks at the kernel before anything is made. The copy is looked at
// once more: see fill.
func (p *packing) kernelMistakes() (found []errcode.Detail, hint string) {
	if message := notRegular(p.Kernel); message != "" {
		return []errcode.Detail{{Field: "kernel", Message: message}}, ""
	}
	f, err := os.Open(p.Kernel)
	if err == nil {
		defer f.Close()
		_, err = p.archOf(f)
	}
	if e, ok := errors.AsType[*errcode.Error](err); ok {
		return e.Details, e.Hint
	}
	if err != nil {
		found = []errcode.Detail{{Field: "kernel", Message: err.Error()}}
	}
	return found, ""
}

// look returns the file system in Rootfs, "" if it has to be made.
func (p *packing) look() (RootfsType, error) {
	if p.Rootfs == "" {
		return "", nil // mistakes will tell whether there is a stream
	}
	info, err := os.Stat(p.Rootfs)
	if err != nil || !info.Mode().IsRegular() {
		return "", err
	}
	return imageType(p.Rootfs)
}

func (p *packing) readOnly() bool { return p.RootfsType == Squashfs }

// fill puts everything into the directory.
func (p *packing) fill(ctx context.Context, d *bundleDir) (*Manifest, error) {
	rootfs := rootfsFile + string(p.RootfsType)
	m := &Manifest{
		SchemaVersion: schemaVersion, BundleID: p.ID, Name: p.Name, FirecrackerVersion: p.FirecrackerVersion,
		RootfsType: p.RootfsType, RootfsIsReadOnly: p.readOnly(), BootArgs: p.BootArgs,
		Kernel: ArtifactManifest{Path: kernelFile, FileName: kernelFile},
		Rootfs: ArtifactManifest{Path: rootfs, FileName: rootfs},
	}
	if err := d.copy(ctx, p.Kernel, kernelFile); err != nil {
		return nil, err
	}
	if p.Initrd != "" {
		m.Initrd = ArtifactManifest{Path: initrdFile, FileName: initrdFile}
		if err := d.copy(ctx, p.Initrd, initrdFile); err != nil {
			return nil, err
		}
	}
	var err error
	if m.Arch, err = p.arch(d); err != nil {
		return nil, err
	}
	if p.image {
		err = d.copy(ctx, p.Rootfs, rootfs)
	} else {
		err = p.pack(ctx, filepath.Join(d.path, rootfs))
	}
	if err != nil {
		return nil, err
	}
	for _, name := range m.parts() {
		a := m.artifact(name)
		if a.SHA256, a.SizeBytes, err = d.hash(ctx, a.FileName, p.begin); err != nil {
			return nil, err
		}
		a.URL, a.Path = a.Path, "" // now that the hash is known: a manifest from the web can't name paths
	}
	return m, d.writeManifest(m)
}

// arch looks at the copy of the kernel, which nobody else changes.
func (p *packing) arch(d *bundleDir) (string, error) {
	f, err := d.root.Open(kernelFile)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return p.archOf(f)
}

// archOf returns what the kernel in f is for, which has to be what was asked for.
func (p *packing) archOf(f io.ReaderAt) (string, error) {
	arch, err := kernelArch(p.Kernel, f)
	if err == nil && slices.Contains(arches, p.Arch) && p.Arch != arch {
		err = &errcode.Error{
			Code: errcode.InvalidConfig, Op: opPack, Subject: p.Kernel,
			Details: []errcode.Detail{{Field: "arch", Message: "the kernel is for " + arch + ", not for " + p.Arch}},
		}
	}
	return arch, err
}
