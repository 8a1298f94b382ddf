package baseimage_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

// publish puts a project on a site, at /p.
func (p *project) publish(tb testing.TB, site *fetchtest.Site, id string) (manifestURL string) {
	tb.Helper()
	p.write(tb, id, func(m *baseimage.Manifest) {
		m.Kernel.Path, m.Kernel.URL = "", "files/kernel"
		m.Rootfs.Path, m.Rootfs.URL = "", "files/rootfs"
		if p.initrd != nil {
			m.Initrd.Path, m.Initrd.URL = "", "files/initrd"
		}
	})
	data, err := os.ReadFile(p.manifest)
	if err != nil {
		tb.Fatal(err)
	}
	site.Put("/p/manifest.json", data)
	site.Put("/p/files/kernel", p.kernel)
	site.Put("/p/files/rootfs", p.rootfs)
	if p.initrd != nil {
		site.Put("/p/files/initrd", p.initrd)
	}
	return site.URL("/p/manifest.json")
}

func counts(site *fetchtest.Site) [3]int {
	return [3]int{site.Requests("/p/manifest.json"), site.Requests("/p/files/kernel"), site.Requests("/p/files/rootfs")}
}

func TestHostedManifestIsAskedForOncePerTenMinutes(t *testing.T) {
	t.Parallel()
	p, site := newProject(t, "web"), fetchtest.New(t)
	url := p.publish(t, site, "web")
	s := open(t, baseimage.Options{CacheDir: cacheDir(t), Manifest: url, Transport: site.Transport()})
	now := time.Now()
	baseimage.SetClock(s, func() time.Time { return now })
	req := baseimage.Request{Preset: baseimage.Hosted}
	for range 3 {
		holds(t, ensure(t, s, req), p.kernel, p.rootfs)
	}
	if got := counts(site); got != [3]int{1, 1, 1} {
		t.Errorf("requests for manifest, kernel and rootfs: %v", got)
	}
	now = now.Add(11 * time.Minute)
	ensure(t, s, req)
	if got := counts(site); got != [3]int{2, 1, 1} {
		t.Errorf("after eleven minutes: %v", got)
	}
	ensure(t, s, baseimage.Request{Preset: baseimage.Hosted, ForceDownload: true})
	if got := counts(site); got != [3]int{3, 2, 2} {
		t.Errorf("after a forced download: %v", got)
	}
}

func TestInitrdFromAServerIsVerifiedAndFetchedAlone(t *testing.T) {
	t.Parallel()
	p, site, cache := newInitrdProject(t, "web"), fetchtest.New(t), cacheDir(t)
	url := p.publish(t, site, "web")
	s := open(t, baseimage.Options{CacheDir: cache, Transport: site.Transport()})
	req := baseimage.Request{Manifest: url}
	site.Misbehave("/p/files/initrd", fetchtest.Fault{Corrupt: true})
	_, err := s.Ensure(t.Context(), req)
	wantCode(t, err, errcode.DownloadFailed)
	wantText(t, err.Error(), "initrd.img")
	if got := list(t, s); len(got) != 0 {
		t.Errorf("the cache has %v", got)
	}
	site.Misbehave("/p/files/initrd", fetchtest.Fault{})
	b := ensure(t, s, req)
	p.isAll(t, b)
	if b.Initrd.Source != site.URL("/p/files/initrd") {
		t.Errorf("its source is %s", b.Initrd.Source)
	}
	before, initrds := counts(site), site.Requests("/p/files/initrd")
	flip(t, b.Initrd.Path)
	p.isAll(t, ensure(t, s, req))
	if got := site.Requests("/p/files/initrd") - initrds; got != 1 || counts(site) != before {
		t.Errorf("a damaged initrd: it was asked for %d times, the others %v, before %v", got, counts(site), before)
	}
}

func TestCacheStandsInForAManifestThatCannotBeReached(t *testing.T) {
	t.Parallel()
	p, site, cache := newProject(t, "web"), fetchtest.New(t), cacheDir(t)
	url := p.publish(t, site, "web")
	opts := baseimage.Options{CacheDir: cache, Manifest: url, Transport: site.Transport()}
	req := baseimage.Request{Preset: baseimage.Hosted}
	ensure(t, open(t, opts), req)

	// A server that says no has been reached.
	site.Misbehave("/p/manifest.json", fetchtest.Fault{Status: 404})
	_, err := open(t, opts).Ensure(t.Context(), req)
	wantCode(t, err, errcode.BaseImageManifestFailed)

	// Offline nothing else is expected.
	log := &journal{}
	opts.Offline, opts.Logger = true, log.logger()
	holds(t, ensure(t, open(t, opts), req), p.kernel, p.rootfs)
	if log.String() != "" {
		t.Errorf("a warning: %s", log)
	}
	if n := site.Requests("/p/manifest.json"); n != 2 {
		t.Errorf("%d requests, want none offline", n-2)
	}
	opts.Manifest = site.URL("/other.json")
	_, err = open(t, opts).Ensure(t.Context(), req)
	wantCode(t, err, errcode.BaseImageResolveFailed)
	wantText(t, err.Error(), "hosted "+opts.Manifest, "the cache has web (hosted, Firecracker v1.12.0, x86_64)", "--offline")
}

func TestWrongFileFromAServerReachesNoFinalName(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fetchtest.Fault{
		"corrupt":   {Corrupt: true},
		"too short": {Short: 10},
		"not found": {Status: 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, site, cache := newProject(t, "web"), fetchtest.New(t), cacheDir(t)
			url := p.publish(t, site, "web")
			s := open(t, baseimage.Options{CacheDir: cache, Manifest: url, Transport: site.Transport()})
			site.Misbehave("/p/files/rootfs", fault)
			_, err := s.Ensure(t.Context(), baseimage.Request{Preset: baseimage.Hosted})
			wantCode(t, err, errcode.DownloadFailed)
			wantText(t, err.Error(), "rootfs.squashfs")
			if got := list(t, s); len(got) != 0 {
				t.Errorf("the cache has %v", got)
			}
			site.Misbehave("/p/files/rootfs", fetchtest.Fault{})
			holds(t, ensure(t, s, baseimage.Request{Preset: baseimage.Hosted}), p.kernel, p.rootfs)
		})
	}
}

// A call that ends in the middle leaves what it has, and the next one, of whatever
// process, goes on from there.
func TestNextEnsureGoesOnWhereTheLastOneEnded(t *testing.T) {
	t.Parallel()
	p, site, cache := newProject(t, "web"), fetchtest.New(t), cacheDir(t)
	p.rootfs = content(4 << 20)
	url := p.publish(t, site, "web")
	opts := baseimage.Options{CacheDir: cache, Manifest: url, Transport: site.Transport()}
	site.Misbehave("/p/files/rootfs", fetchtest.Fault{Stall: true, StallAfter: 3 << 20, Times: 1})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := open(t, opts).Ensure(ctx, baseimage.Request{Preset: baseimage.Hosted})
		failed <- err
	}()
	eventually(t, func() bool {
		info, err := os.Stat(filepath.Join(cache, ".new-web", ".rootfs.squashfs.part"))
		_, kernelErr := os.Stat(filepath.Join(cache, ".new-web", "vmlinux"))
		return err == nil && kernelErr == nil && info.Size() >= 2<<20
	})
	cancel()
	wantCode(t, <-failed, errcode.Cancelled)
	holds(t, ensure(t, open(t, opts), baseimage.Request{Preset: baseimage.Hosted}), p.kernel, p.rootfs)
	if got := counts(site); got != [3]int{2, 1, 2} {
		t.Errorf("requests for manifest, kernel and rootfs: %v", got)
	}
	if left := names(t, cache); len(left) != 2 {
		t.Errorf("left in the cache: %v", left)
	}
}

// eventually waits until done reports true.
func eventually(tb testing.TB, done func() bool) {
	tb.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			tb.Fatal("it does not happen")
		}
	}
}

func TestSecretsOfURLsAreNotKept(t *testing.T) {
	t.Parallel()
	p, site, cache := newInitrdProject(t, "web"), fetchtest.New(t), cacheDir(t)
	p.publish(t, site, "web")
	secret := func(path string) string {
		return strings.Replace(site.URL(path), "http://", "http://user:hunter2@", 1) + "?signature=hunter3"
	}
	p.write(t, "web", func(m *baseimage.Manifest) {
		m.Kernel.Path, m.Kernel.URL = "", secret("/p/files/kernel")
		m.Rootfs.Path, m.Rootfs.URL = "", secret("/p/files/rootfs")
		m.Initrd.Path, m.Initrd.URL = "", secret("/p/files/initrd")
	})
	data, err := os.ReadFile(p.manifest)
	if err != nil {
		t.Fatal(err)
	}
	site.Put("/p/manifest.json", data)
	log := &journal{}
	s := open(t, baseimage.Options{CacheDir: cache, Transport: site.Transport(), Logger: log.logger()})
	req := baseimage.Request{Manifest: secret("/p/manifest.json")}
	b := ensure(t, s, req)
	flip(t, b.Kernel.Path)
	b = ensure(t, s, req) // with the secrets, which the manifest has
	p.isAll(t, b)
	shown, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(filepath.Join(cache, "web", "bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"bundle": string(shown), "bundle.json": string(kept), "log": log.String()} {
		if strings.Contains(text, "hunter") {
			t.Errorf("%s: %s", where, text)
		}
	}
	if b.Source.Location != site.URL("/p/manifest.json") || b.Kernel.Source != site.URL("/p/files/kernel") {
		t.Errorf("sources %s and %s", b.Source.Location, b.Kernel.Source)
	}
}

func TestBundleIsTheSameAfterJSON(t *testing.T) {
	t.Parallel()
	for _, p := range []*project{newProject(t, "json"), newInitrdProject(t, "json2")} {
		b := ensure(t, open(t, baseimage.Options{CacheDir: cacheDir(t)}), p.request())
		data, err := json.Marshal(b)
		var again baseimage.Bundle
		if err := errors.Join(err, json.Unmarshal(data, &again)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, &again); diff != "" {
			t.Error(diff)
		}
		if has := strings.Contains(string(data), "initrd"); has != (p.initrd != nil) {
			t.Errorf("shown as %s", data)
		}
	}
}
