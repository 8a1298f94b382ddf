package baseimage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

func TestEnsurePutsABundleIntoThePrivateCache(t *testing.T) {
	t.Parallel()
	p, cache := newProject(t, "minimal"), cacheDir(t)
	b := ensure(t, open(t, baseimage.Options{CacheDir: cache}), p.request())
	holds(t, b, p.kernel, p.rootfs)
	want := &baseimage.Bundle{
		ID: "minimal", Name: "Test minimal", Arch: "x86_64", FirecrackerVersion: firecracker.Version{Major: 1, Minor: 12},
		Kernel:     baseimage.Artifact{Path: filepath.Join(cache, "minimal", "vmlinux"), SHA256: sum(p.kernel), SizeBytes: int64(len(p.kernel)), Source: filepath.Join(p.dir, "k")},
		Rootfs:     baseimage.Artifact{Path: filepath.Join(cache, "minimal", "rootfs.squashfs"), SHA256: sum(p.rootfs), SizeBytes: int64(len(p.rootfs)), Source: filepath.Join(p.dir, "r")},
		RootfsType: baseimage.Squashfs, RootfsIsReadOnly: true, BootArgs: "console=ttyS0",
		Preset: baseimage.Hosted, Source: baseimage.Source{Location: p.manifest},
	}
	times := cmp.Options{
		cmpopts.IgnoreFields(baseimage.Bundle{}, "CreatedAt", "LastUsedAt"),
		cmpopts.IgnoreFields(baseimage.Source{}, "ResolvedAt", "FetchedAt"),
	}
	if diff := cmp.Diff(want, b, times); diff != "" {
		t.Error(diff)
	}
	for what, at := range map[string]bool{"created": b.CreatedAt.IsZero(), "used": b.LastUsedAt.IsZero(), "fetched": b.Source.FetchedAt.IsZero(), "resolved": b.Source.ResolvedAt.IsZero()} {
		if at {
			t.Errorf("nothing says when it was %s", what)
		}
	}
	p.isAll(t, b)
	for _, dir := range []string{cache, filepath.Join(cache, "minimal")} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: mode %v, error %v", dir, info.Mode(), err)
		}
	}
}

func TestAnInitrdIsCachedListedAndEvictedWithItsBundle(t *testing.T) {
	t.Parallel()
	p, cache := newInitrdProject(t, "modular"), cacheDir(t)
	s := open(t, baseimage.Options{CacheDir: cache, Retention: 1})
	b := ensure(t, s, p.request())
	p.isAll(t, b)
	want := baseimage.Artifact{Path: filepath.Join(cache, "modular", "initrd.img"), SHA256: sum(p.initrd), SizeBytes: int64(len(p.initrd)), Source: filepath.Join(p.dir, "i")}
	if diff := cmp.Diff(want, b.Initrd); diff != "" {
		t.Error(diff)
	}
	all, err := s.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Initrd != want || all[0].SizeBytes != int64(len(p.kernel)+len(p.rootfs)+len(p.initrd)) || all[0].Damaged != "" {
		t.Errorf("listed as %+v, error %v", all, err)
	}
	if err := os.Remove(b.Initrd.Path); err != nil {
		t.Fatal(err)
	}
	if all, err = s.List(t.Context()); err != nil || len(all) != 1 || !strings.Contains(all[0].Damaged, "initrd.img") {
		t.Errorf("without its initrd it is listed as %+v, error %v", all, err)
	}
	again, err := s.Ensure(t.Context(), baseimage.Request{ID: "modular"})
	if err != nil {
		t.Fatal(err)
	}
	p.isAll(t, again)
	shut(t, s)
	s = open(t, baseimage.Options{CacheDir: cache, Retention: 1})
	ensure(t, s, newProject(t, "other").request())
	if diff := cmp.Diff([]string{".lock", ".locks", "other"}, names(t, cache)); diff != "" {
		t.Error(diff)
	}
}

func TestOpenTouchesNothing(t *testing.T) {
	t.Parallel()
	cache := cacheDir(t)
	s := open(t, baseimage.Options{CacheDir: cache})
	if got := list(t, s); len(got) != 0 {
		t.Errorf("an absent cache lists %v", got)
	}
	if evicted, err := s.Prune(t.Context()); err != nil || len(evicted) != 0 {
		t.Errorf("prune: %v, %v", evicted, err)
	}
	wantCode(t, s.Remove(t.Context(), "x"), errcode.BaseImageResolveFailed)
	wantCode(t, s.Verify(t.Context(), "x"), errcode.BaseImageResolveFailed)
	if _, err := os.Lstat(cache); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cache was made: %v", err)
	}
}

func TestOpenRefusesBadOptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		opts baseimage.Options
		code errcode.Code
		says string
	}{
		{baseimage.Options{}, errcode.InvalidConfig, "cacheDir"},
		{baseimage.Options{CacheDir: "c", Arch: "amd64"}, errcode.InvalidConfig, "arch"},
		{baseimage.Options{CacheDir: "c", Retention: -1}, errcode.InvalidBaseImageCacheLimit, "retention"},
	} {
		_, err := baseimage.Open(tt.opts)
		wantCode(t, err, tt.code)
		wantText(t, err.Error(), tt.says)
	}
}

func TestEnsureRefusesRequestsThatContradictThemselves(t *testing.T) {
	t.Parallel()
	s := open(t, baseimage.Options{CacheDir: cacheDir(t)})
	for says, req := range map[string]baseimage.Request{
		"preset":             {Preset: "newest"},
		"needs the URL":      {Preset: baseimage.Hosted},
		"hosted only":        {Preset: baseimage.LTS, Manifest: "m.json"},
		"lts is for v1.7.0":  {Preset: baseimage.LTS, FirecrackerVersion: firecracker.Version{Major: 1, Minor: 8}},
		"firecrackerVersion": {},
	} {
		_, err := s.Ensure(t.Context(), req)
		wantCode(t, err, errcode.InvalidConfig)
		wantText(t, err.Error(), says)
	}
}

func TestEnsureRefusesAManifestForSomethingElse(t *testing.T) {
	t.Parallel()
	p := newProject(t, "other")
	s := open(t, baseimage.Options{CacheDir: cacheDir(t), Manifest: p.manifest})
	_, err := s.Ensure(t.Context(), baseimage.Request{Preset: baseimage.Hosted, FirecrackerVersion: firecracker.Version{Major: 1, Minor: 9}})
	wantCode(t, err, errcode.BaseImageResolveFailed)
	wantText(t, err.Error(), "v1.12.0", "v1.9.0")
	p.write(t, "other", func(m *baseimage.Manifest) { m.Arch = "aarch64" })
	_, err = s.Ensure(t.Context(), baseimage.Request{Preset: baseimage.Hosted})
	wantCode(t, err, errcode.BaseImageResolveFailed)
	wantText(t, err.Error(), "aarch64", "x86_64")
	for _, edit := range []func(*baseimage.Manifest){
		func(m *baseimage.Manifest) { m.Kernel.FileName = "bundle.json" },
		func(m *baseimage.Manifest) { m.Rootfs.FileName = "uses" },
		func(m *baseimage.Manifest) { m.Rootfs.FileName = m.Kernel.FileName },
		func(m *baseimage.Manifest) { m.Initrd = m.Kernel },
	} {
		p.write(t, "other", edit)
		_, err = s.Ensure(t.Context(), baseimage.Request{Preset: baseimage.Hosted})
		wantCode(t, err, errcode.InvalidBaseImageManifest)
		wantText(t, err.Error(), "fileName")
	}
}

func TestEnsureLeavesNothingOfAFileThatIsNotTheManifests(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*baseimage.Manifest){
		"hash":    func(m *baseimage.Manifest) { m.Rootfs.SHA256 = strings.Repeat("ab", 32) },
		"size":    func(m *baseimage.Manifest) { m.Kernel.SizeBytes++ },
		"missing": func(m *baseimage.Manifest) { m.Kernel.Path += "-gone" },
		"empty initrd": func(m *baseimage.Manifest) {
			m.Initrd = baseimage.ArtifactManifest{Path: filepath.Join(filepath.Dir(m.Kernel.Path), "i"), FileName: "i"}
		},
		"no file": func(m *baseimage.Manifest) { m.Kernel.Path = filepath.Dir(m.Kernel.Path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, cache := newProject(t, "wrong"), cacheDir(t)
			p.write(t, "wrong", edit)
			s := open(t, baseimage.Options{CacheDir: cache})
			_, err := s.Ensure(t.Context(), p.request())
			wantCode(t, err, errcode.BaseImagePrepareFailed)
			if got := list(t, s); len(got) != 0 {
				t.Errorf("the cache has %v", got)
			}
			p.write(t, "wrong", nil)
			holds(t, ensure(t, s, p.request()), p.kernel, p.rootfs)
		})
	}
}

func TestEnsureRecordsTheHashOfALocalFileWithoutOne(t *testing.T) {
	t.Parallel()
	p := newInitrdProject(t, "unhashed")
	p.write(t, "unhashed", func(m *baseimage.Manifest) {
		for _, a := range []*baseimage.ArtifactManifest{&m.Kernel, &m.Rootfs, &m.Initrd} {
			a.SHA256, a.SizeBytes = "", 0
		}
	})
	cache := cacheDir(t)
	b := ensure(t, open(t, baseimage.Options{CacheDir: cache}), p.request())
	p.isAll(t, b)
	flip(t, b.Rootfs.Path)
	flip(t, b.Initrd.Path)
	p.isAll(t, ensure(t, open(t, baseimage.Options{CacheDir: cache}), p.request()))
}

func TestConcurrentEnsuresShareTheWork(t *testing.T) {
	t.Parallel()
	p, log := newProject(t, "shared"), &journal{}
	s := open(t, baseimage.Options{CacheDir: cacheDir(t), Logger: log.logger()})
	var group sync.WaitGroup
	created := make([]int64, 16)
	for i := range created {
		group.Go(func() {
			b, err := s.Ensure(t.Context(), p.request())
			if err != nil {
				t.Error(err)
				return
			}
			created[i] = b.CreatedAt.UnixNano()
		})
	}
	group.Wait()
	if slices.Min(created) != slices.Max(created) || log.String() != "" {
		t.Errorf("it was made at %v; log: %s", created, log)
	}
}

func TestEnsureEndsWithItsContextWhileAnotherProcessPrepares(t *testing.T) {
	t.Parallel()
	p, cache := newProject(t, "busy"), cacheDir(t)
	s := open(t, baseimage.Options{CacheDir: cache})
	if err := os.Mkdir(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	release, err := baseimage.HoldWork(t.Context(), cache, "busy")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := s.Ensure(ctx, p.request())
		failed <- err
	}()
	why := errors.New("changed my mind")
	cancel(why)
	err = <-failed
	wantCode(t, err, errcode.Cancelled)
	if !errors.Is(err, why) {
		t.Errorf("%v does not match its cause", err)
	}
	release()
	holds(t, ensure(t, s, p.request()), p.kernel, p.rootfs)
}

func TestClosedStoreRefusesCallsAndGivesUpItsLeases(t *testing.T) {
	t.Parallel()
	p, cache := newProject(t, "closed"), cacheDir(t)
	first, second := open(t, baseimage.Options{CacheDir: cache}), open(t, baseimage.Options{CacheDir: cache})
	ensure(t, first, p.request())
	wantCode(t, second.Remove(t.Context(), "closed"), errcode.BaseImageInUse)
	wantCode(t, first.Remove(t.Context(), "closed"), errcode.BaseImageInUse)
	shut(t, first)
	shut(t, first)
	_, err := first.Ensure(t.Context(), p.request())
	wantCode(t, err, errcode.InvalidState)
	if err := second.Remove(t.Context(), "closed"); err != nil {
		t.Error(err)
	}
}

func TestEnsureSurvivesThatItsCacheIsDeleted(t *testing.T) {
	t.Parallel()
	p, cache := newProject(t, "deleted"), cacheDir(t)
	s := open(t, baseimage.Options{CacheDir: cache})
	ensure(t, s, p.request())
	if err := os.RemoveAll(cache); err != nil {
		t.Fatal(err)
	}
	holds(t, ensure(t, s, p.request()), p.kernel, p.rootfs)
	other := open(t, baseimage.Options{CacheDir: cache})
	wantCode(t, other.Remove(t.Context(), "deleted"), errcode.BaseImageInUse)
}

func TestCacheThatOthersCanWriteIsRefused(t *testing.T) {
	t.Parallel()
	p, cache := newProject(t, "open"), cacheDir(t)
	if err := errors.Join(os.Mkdir(cache, 0o700), os.Chmod(cache, 0o777)); err != nil {
		t.Fatal(err)
	}
	s := open(t, baseimage.Options{CacheDir: cache})
	_, err := s.Ensure(t.Context(), p.request())
	wantCode(t, err, errcode.InsecurePath)
	_, err = s.List(t.Context())
	wantCode(t, err, errcode.InsecurePath)
}
