package smartvm

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/snapshot"
)

// imagePin keeps a bundle of the cache of base images for a VM.
type imagePin struct{ baseimage.Pin }

// Kind implements ledger.Resource.
func (p *imagePin) Kind() string { return "image-pin" }

// String implements ledger.Resource.
func (p *imagePin) String() string { return "base image " + p.BundleID }

// Release implements ledger.Resource: the cache may evict the bundle.
func (p *imagePin) Release(context.Context) error { return p.Pin.Release() } //nolint:contextcheck // it removes a file, and waits for nothing

// pinImages keeps the bundles that the VM's files belong to. What is no bundle can't
// be evicted either.
func (l *launch) pinImages(ctx context.Context) error {
	store, cache, holder := l.vm.manager.baseImages, l.vm.manager.opts.BaseImageDir, l.vm.Dir()
	for _, id := range bundlesIn(cache, l.plan.files.Hosts()) {
		pin := &imagePin{baseimage.Pin{BundleID: id, Holder: holder, Path: baseimage.PinPath(cache, id, holder)}}
		err := l.ledger.Make(pin, func() error {
			_, err := store.Pin(ctx, id, holder)
			return err
		})
		if err != nil && !errors.Is(err, errcode.BaseImageResolveFailed) {
			return err
		}
	}
	return nil
}

// bundlesIn returns the names of the directories in cache that paths lie in.
func bundlesIn(cache string, paths []string) []string {
	var ids []string
	for _, path := range paths {
		rest, inside := strings.CutPrefix(path, cache+string(filepath.Separator))
		id, _, below := strings.Cut(rest, string(filepath.Separator))
		if inside && below && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// snapshotPin keeps a snapshot in the store for a VM that maps its memory.
type snapshotPin struct{ snapshot.Pin }

// Kind implements ledger.Resource.
func (p *snapshotPin) Kind() string { return "snapshot-pin" }

// String implements ledger.Resource.
func (p *snapshotPin) String() string { return "snapshot " + p.Snapshot }

// Release implements ledger.Resource: the snapshot may be removed.
func (p *snapshotPin) Release(context.Context) error { return p.Pin.Release() }

func (l *launch) pinSnapshot(ctx context.Context) error {
	if l.restore == nil {
		return nil
	}
	store, m := l.vm.manager.snapshots, l.restore.manifest
	pin := &snapshotPin{store.Pin(m.Name, l.vm.Dir())}
	return l.ledger.Make(pin, func() error { return store.Use(ctx, pin.Pin, m.ID) })
}
