package image_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/image/imagetest"
	"github.com/smartvm/smartvm/internal/hosttest"
)

// TestFullDiskIsNoSpace is not parallel: it has a thread with namespaces of its own.
func TestFullDiskIsNoSpace(t *testing.T) {
	hosttest.Isolate(t)
	s := newScene(t)
	if err := errors.Join(os.Mkdir(s.opts.DataDir, 0o700), unix.Mount("tmpfs", s.opts.DataDir, "tmpfs", 0, "mode=700,size=128k")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(s.opts.DataDir, 0); err != nil {
			t.Error(err)
		}
	})
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, noise(1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	r := imagetest.NewRelease("v1.12.1", image.Arch())
	r.Files[r.Firecracker()] = append(r.Files[r.Firecracker()], make([]byte, 4<<20)...) // a small archive
	r.List()
	s.site.PutRelease(r.Version, r.Arch, r.Archive(t))
	mirror := t.TempDir() // the namespace has no loopback that is up
	s.site.WriteTree(t, mirror)
	s.opts.ReleaseURL = "file://" + mirror + "/releases"
	store := s.Store(t)

	_, err := store.DownloadFirecracker(t.Context(), parse(t, r.Version))
	checkCode(t, err, errcode.NoSpace)
	_, err = store.CreateBlankRootfs(t.Context(), "blank", 10_000)
	checkCode(t, err, errcode.NoSpace)
	_, err = store.CloneRootfs(t.Context(), source, "clone")
	checkCode(t, err, errcode.NoSpace)
	if tree := s.tree(t); len(tree) != 0 {
		t.Errorf("it left %v", slices.Sorted(maps.Keys(tree)))
	}
}
