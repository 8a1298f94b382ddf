package baseimage_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
)

func TestNewHashesReplaceABundleThatNobodyUses(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(p *project, m *baseimage.Manifest){
		"both": func(p *project, m *baseimage.Manifest) {},
		"file names": func(_ *project, m *baseimage.Manifest) {
			m.Kernel.FileName, m.Rootfs.FileName = "vmlinux-2", "rootfs-2.squashfs"
		},
		"swapped names": func(_ *project, m *baseimage.Manifest) {
			m.Kernel.FileName, m.Rootfs.FileName = m.Rootfs.FileName, m.Kernel.FileName
		},
		"initrd and rootfs swapped": func(_ *project, m *baseimage.Manifest) {
			m.Initrd.FileName, m.Rootfs.FileName = m.Rootfs.FileName, m.Initrd.FileName
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, cache := newInitrdProject(t, "project"), cacheDir(t)
			s := open(t, baseimage.Options{CacheDir: cache})
			ensure(t, s, p.request())
			p.kernel, p.rootfs, p.initrd = content(6000), content(100_000), content(100)
			p.write(t, "project", func(m *baseimage.Manifest) { edit(p, m) })

			_, err := s.Ensure(t.Context(), p.request())
			wantCode(t, err, errcode.BaseImageInUse) // this store has returned the old one
			shut(t, s)
			s = open(t, baseimage.Options{CacheDir: cache})
			p.isAll(t, ensure(t, s, p.request()))
			if got := names(t, cache); len(got) != 2 {
				t.Errorf("the cache has %v", got)
			}
		})
	}
}

// An initrd decides what a kernel finds: a bundle that has another one, or none, is
// another bundle.
func TestAnInitrdThatComesGoesOrChangesReplacesABundle(t *testing.T) {
	t.Parallel()
	small, large := content(100), content(1000)
	for name, tt := range map[string]struct{ before, after []byte }{
		"comes":   {nil, small},
		"goes":    {small, nil},
		"changes": {small, large},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, cache := newProject(t, "project"), cacheDir(t)
			p.initrd = tt.before
			p.write(t, "project", nil)
			user := open(t, baseimage.Options{CacheDir: cache})
			old := ensure(t, user, p.request())
			p.initrd = tt.after
			p.write(t, "project", nil)
			s := open(t, baseimage.Options{CacheDir: cache})
			_, err := s.Ensure(t.Context(), p.request())
			wantCode(t, err, errcode.BaseImageInUse)
			if tt.before != nil {
				holdsFile(t, old.Initrd, tt.before)
			}
			shut(t, user)
			p.isAll(t, ensure(t, s, p.request()))
			if got := names(t, cache); len(got) != 2 {
				t.Errorf("the cache has %v", got)
			}
		})
	}
}

func TestAPinnedBundleIsNotReplaced(t *testing.T) {
	t.Parallel()
	p, cache := newProject(t, "pinned"), cacheDir(t)
	first := open(t, baseimage.Options{CacheDir: cache})
	b := ensure(t, first, p.request())
	vm := t.TempDir()
	pin, err := first.Pin(t.Context(), "pinned", vm)
	if err != nil {
		t.Fatal(err)
	}
	shut(t, first)
	old := *p
	p.kernel = content(10)
	p.write(t, "pinned", nil)
	s := open(t, baseimage.Options{CacheDir: cache})
	_, err = s.Ensure(t.Context(), p.request())
	wantCode(t, err, errcode.BaseImageInUse)
	wantText(t, err.Error(), vm)
	holds(t, b, old.kernel, old.rootfs)
	if err := pin.Release(); err != nil {
		t.Fatal(err)
	}
	holds(t, ensure(t, s, p.request()), p.kernel, p.rootfs)
}

func TestAChangedDescriptionOfTheSameFilesIsTakenOver(t *testing.T) {
	t.Parallel()
	p, cache := newProject(t, "renamed"), cacheDir(t)
	s := open(t, baseimage.Options{CacheDir: cache})
	old := ensure(t, s, p.request())
	before, err := os.Stat(old.Rootfs.Path)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "renamed", func(m *baseimage.Manifest) { m.BootArgs, m.Name = "console=ttyS0 quiet", "Another" })
	for _, s := range []*baseimage.Store{s, open(t, baseimage.Options{CacheDir: cache})} {
		b := ensure(t, s, p.request())
		if b.BootArgs != "console=ttyS0 quiet" || b.Name != "Another" || b.CreatedAt != old.CreatedAt {
			t.Errorf("got %+v", b)
		}
		holds(t, b, p.kernel, p.rootfs)
	}
	if after, err := os.Stat(old.Rootfs.Path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced (%v)", err)
	}
}

func TestForceDownloadFetchesAgainEvenWhatIsInUse(t *testing.T) {
	t.Parallel()
	p, cache := newProject(t, "forced"), cacheDir(t)
	user := open(t, baseimage.Options{CacheDir: cache})
	old := ensure(t, user, p.request())
	s := open(t, baseimage.Options{CacheDir: cache})
	before, err := os.Stat(old.Rootfs.Path)
	if err != nil {
		t.Fatal(err)
	}
	b := ensure(t, s, baseimage.Request{Manifest: p.manifest, ForceDownload: true})
	holds(t, b, p.kernel, p.rootfs)
	if after, err := os.Stat(old.Rootfs.Path); err != nil || os.SameFile(before, after) {
		t.Errorf("the file was not replaced (%v)", err)
	}
	if !b.Source.FetchedAt.After(old.Source.FetchedAt) {
		t.Errorf("fetched at %v, before at %v", b.Source.FetchedAt, old.Source.FetchedAt)
	}
}

func TestForceDownloadTakesOtherContentOnlyWhenNobodyUsesTheOld(t *testing.T) {
	t.Parallel()
	p, cache := newProject(t, "forced"), cacheDir(t)
	unhashed := func(m *baseimage.Manifest) { m.Kernel.SHA256, m.Rootfs.SHA256 = "", "" }
	p.write(t, "forced", unhashed)
	user := open(t, baseimage.Options{CacheDir: cache})
	old := ensure(t, user, p.request())
	kernel, rootfs := p.kernel, p.rootfs
	p.rootfs = content(len(rootfs))
	p.write(t, "forced", unhashed)

	// What was recorded counts.
	s := open(t, baseimage.Options{CacheDir: cache})
	holds(t, ensure(t, s, p.request()), kernel, rootfs)
	shut(t, s)

	s = open(t, baseimage.Options{CacheDir: cache})
	force := baseimage.Request{Manifest: p.manifest, ForceDownload: true}
	_, err := s.Ensure(t.Context(), force)
	wantCode(t, err, errcode.BaseImageInUse)
	holds(t, old, kernel, rootfs)
	shut(t, user)
	holds(t, ensure(t, s, force), p.kernel, p.rootfs)
}

func TestADirectoryThatIsNoBundleIsLeftAlone(t *testing.T) {
	t.Parallel()
	p, cache := newProject(t, "mine"), cacheDir(t)
	diary := filepath.Join(cache, "mine", "diary")
	if err := errors.Join(os.MkdirAll(filepath.Dir(diary), 0o700), os.WriteFile(diary, []byte("dear"), 0o600), os.WriteFile(filepath.Join(cache, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s := open(t, baseimage.Options{CacheDir: cache, Retention: 1})
	_, err := s.Ensure(t.Context(), p.request())
	wantCode(t, err, errcode.BaseImagePrepareFailed)
	wantText(t, err.Error(), "left alone", "no bundle")
	wantCode(t, s.Remove(t.Context(), "mine"), errcode.BaseImageResolveFailed)
	wantCode(t, s.Remove(t.Context(), "file"), errcode.BaseImageResolveFailed)
	p.write(t, "another", nil)
	ensure(t, s, p.request())
	if evicted, err := s.Prune(t.Context()); err != nil || len(evicted) != 0 {
		t.Errorf("pruned %v, error %v", evicted, err)
	}
	if data, err := os.ReadFile(diary); err != nil || string(data) != "dear" {
		t.Errorf("the diary is %q, error %v", data, err)
	}
}
