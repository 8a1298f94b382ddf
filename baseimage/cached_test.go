package baseimage_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

func TestEnsureTakesABundleOfTheCacheByItsID(t *testing.T) {
	t.Parallel()
	dir, p := cacheDir(t), newProject(t, "web")
	first := open(t, baseimage.Options{CacheDir: dir})
	want := ensure(t, first, p.request())
	shut(t, first)
	if err := os.Remove(p.manifest); err != nil { // the id is enough
		t.Fatal(err)
	}
	s := open(t, baseimage.Options{CacheDir: dir, Offline: true})
	got := ensure(t, s, baseimage.Request{ID: "web"})
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(baseimage.Bundle{}, "LastUsedAt")); diff != "" {
		t.Errorf("bundle (-want +got):\n%s", diff)
	}
	wantCode(t, open(t, baseimage.Options{CacheDir: dir}).Remove(t.Context(), "web"), errcode.BaseImageInUse)
	flip(t, got.Rootfs.Path)
	holds(t, ensure(t, s, baseimage.Request{ID: "web", Verify: true}), p.kernel, p.rootfs)
}

func TestEnsureByIDRefusesWhatTheCacheLacks(t *testing.T) {
	t.Parallel()
	dir, p := cacheDir(t), newProject(t, "web")
	ensure(t, open(t, baseimage.Options{CacheDir: dir}), p.request())
	other := newProject(t, "other")
	other.write(t, "other", func(m *baseimage.Manifest) { m.Arch = "aarch64" })
	ensure(t, open(t, baseimage.Options{CacheDir: dir, Arch: "aarch64"}), other.request())
	s := open(t, baseimage.Options{CacheDir: dir})
	for name, c := range map[string]struct {
		req  baseimage.Request
		want errcode.Code
	}{
		"nothing of that id":   {baseimage.Request{ID: "nope"}, errcode.BaseImageResolveFailed},
		"a path":               {baseimage.Request{ID: "../web"}, errcode.BaseImageResolveFailed},
		"our own directories":  {baseimage.Request{ID: ".locks"}, errcode.BaseImageResolveFailed},
		"another architecture": {baseimage.Request{ID: "other"}, errcode.BaseImageResolveFailed},
		"a preset as well":     {baseimage.Request{ID: "web", Preset: baseimage.LTS}, errcode.InvalidConfig},
		"a manifest as well":   {baseimage.Request{ID: "web", Manifest: p.manifest}, errcode.InvalidConfig},
		"a version as well":    {baseimage.Request{ID: "web", FirecrackerVersion: firecracker.Version{Major: 1}}, errcode.InvalidConfig},
	} {
		if _, err := s.Ensure(t.Context(), c.req); errcode.Of(err, "") != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
