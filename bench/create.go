package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
)

// createPart takes snapshots of VMs that run.
const createPart = "create"

const (
	armRawCreate   = "raw-create"
	armTake        = "smartvm-snapshot"
	armTakeInJail  = "smartvm-snapshot-jailed"
	createdName    = "created"
	createdSubject = "snapshot of one VM"
)

// originals are the VMs that snapshots are taken of.
type originals struct {
	plain, jailed *smartvm.VM
	client        *firecracker.Client // of the plain one's
}

func (l *lab) openOriginals(ctx context.Context) (o *originals, err error) {
	o = &originals{}
	if o.plain, err = l.bootCounting(ctx, l.manager); err != nil {
		return o, err
	}
	o.client = firecracker.NewClient(o.plain.SocketPath(), firecracker.ClientOptions{Version: l.binary.Version})
	o.jailed, err = l.bootCounting(ctx, l.jailing)
	return o, err
}

func (l *lab) bootCounting(ctx context.Context, m *smartvm.Manager) (*smartvm.VM, error) {
	vm, err := m.CreateVM("", l.countedConfig(paces[calm]))
	if err != nil {
		return nil, err
	}
	return vm, vm.Start(ctx)
}

func (o *originals) close(ctx context.Context, l *lab) error {
	var errs []error
	if o.client != nil {
		errs = append(errs, o.client.Close())
	}
	for m, vm := range map[*smartvm.Manager]*smartvm.VM{l.manager: o.plain, l.jailing: o.jailed} {
		if vm != nil {
			errs = append(errs, discard(ctx, m, vm))
		}
	}
	return errors.Join(errs...)
}

func (o *originals) arms() []arm {
	return []arm{
		{armRawCreate, "pause, create, copy of the disk by reflink or copy_file_range, resume; the connection is open", o.takeRaw},
		{armTake, "VM.Snapshot: the same, checked, sealed, described and entered into the store", taken(o.plain)},
		{armTakeInJail, "the same of a VM in a jail", taken(o.jailed)},
	}
}

func (o *originals) takeRaw(ctx context.Context, l *lab) (s sample, err error) {
	dir := l.path(createdName)
	if err := os.Mkdir(dir, dirMode); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	done := s.begin()
	err = errors.Join(o.client.Pause(ctx), o.client.CreateSnapshot(ctx, firecracker.SnapshotCreateParams{
		SnapshotPath: filepath.Join(dir, stateSuffix), MemFilePath: filepath.Join(dir, memorySuffix),
	}), cloneDisk(o.plain.Drives()[0].Path, filepath.Join(dir, diskName)), o.client.Resume(ctx))
	done()
	return s, err
}

func cloneDisk(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return out.Close()
	}
	for at := int64(0); at < mib && err == nil; {
		var n int64
		n, err = copyFileRange(int(in.Fd()), int(out.Fd()), at, mib-at)
		at += n
	}
	return errors.Join(err, out.Close())
}

func taken(vm *smartvm.VM) func(context.Context, *lab) (sample, error) {
	return func(ctx context.Context, l *lab) (s sample, err error) {
		done := s.begin()
		_, err = vm.Snapshot(ctx, createdName, smartvm.SnapshotOptions{})
		done()
		if err != nil {
			return s, err
		}
		return s, l.manager.Snapshots().Remove(ctx, createdName)
	}
}

// creates compares snapshots that are taken.
func (r *report) creates(ctx context.Context, l *lab, opts *options) (err error) {
	o, err := l.openOriginals(ctx)
	defer func() { err = errors.Join(err, o.close(ctx, l)) }()
	if err != nil {
		return err
	}
	arms := o.arms()
	samples, err := takeTurns(ctx, l, arms, opts.n, createdSubject, opts.progress)
	if err != nil {
		return err
	}
	for i, a := range arms {
		took := column(samples[i], marker)
		r.Create = append(r.Create, CreateResult{Arm: a.name, What: a.what, Took: summarise(took), Raw: ratio(took, column(samples[0], marker))})
	}
	return nil
}
