package baseimage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

const (
	newest   = "ci-20260812-48f1b9fb52e9-0-x86_64-vmlinux-6.18.39-ubuntu-24.04.squashfs"
	previous = "ci-20260722-38359b8055fc-0-x86_64-vmlinux-6.1.176-ubuntu-24.04.squashfs"
	pinned   = "ci-v1.7-x86_64-vmlinux-5.10.217-ubuntu-22.04.squashfs"
	older    = "ci-v1.12-x86_64-vmlinux-6.1.128-ubuntu-24.04.squashfs"
)

// world is Firecracker's releases and its CI bucket.
type world struct {
	site  *fetchtest.Site
	asked int   // how often the newest release was asked for
	fails error // why it is not known
	log   journal
	cache string
}

func newWorld(tb testing.TB, keys []string) *world {
	tb.Helper()
	return &world{site: site(tb, keys), cache: cacheDir(tb)}
}

func (w *world) options() baseimage.Options {
	return baseimage.Options{
		CacheDir: w.cache, Arch: arch, BucketURL: w.site.BucketURL(), Transport: w.site.Transport(), Logger: w.log.logger(),
		LatestVersion: func(context.Context) (firecracker.Version, error) {
			w.asked++
			return firecracker.Version{Major: 1, Minor: 16, Patch: 1}, w.fails
		},
	}
}

func (w *world) open(tb testing.TB) *baseimage.Store { tb.Helper(); return w.with(tb, w.options()) }

func (w *world) with(tb testing.TB, opts baseimage.Options) *baseimage.Store {
	tb.Helper()
	s := open(tb, opts)
	if err := baseimage.SetPatience(s); err != nil {
		tb.Fatal(err)
	}
	return s
}

// listings is how often the bucket was listed.
func (w *world) listings() int { return w.site.Requests("/bucket") }

func (w *world) down() { w.site.Misbehave("/bucket", fetchtest.Fault{Status: 503}) }

func unreachable() error {
	return &errcode.Error{Code: errcode.VersionFetchFailed, Op: "ask", Err: &errcode.Error{Code: errcode.DownloadFailed, Op: "look up", Err: errors.New("no route to host")}}
}

func TestLatestIsWhatTheBucketHasForTheNewestRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ci)
	b := ensure(t, w.open(t), baseimage.Request{})
	if b.ID != newest {
		t.Errorf("got %s, want %s", b.ID, newest)
	}
	holds(t, b, []byte(newBuild+"vmlinux-6.18.39"), []byte(newBuild+"ubuntu-24.04.squashfs"))
	if b.FirecrackerVersion.String() != "v1.16.1" || b.RootfsType != baseimage.Squashfs || !b.RootfsIsReadOnly || b.Arch != arch || b.Preset != baseimage.Latest {
		t.Errorf("got %+v", b)
	}
	if want := baseimage.DefaultBootArgs(baseimage.Squashfs, true); b.BootArgs != want {
		t.Errorf("boot args %q, want %q", b.BootArgs, want)
	}
	if want := w.site.BucketURL() + "/" + newBuild; b.Source.Location != want || b.Kernel.Source != want+"vmlinux-6.18.39" {
		t.Errorf("from %s and %s, want %s", b.Source.Location, b.Kernel.Source, want)
	}
}

func TestBucketIsAskedOncePerTenMinutesOrWhenForced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ci)
	s := w.open(t)
	now := time.Now()
	baseimage.SetClock(s, func() time.Time { return now })
	ensure(t, s, baseimage.Request{})
	once := w.listings()
	if once == 0 {
		t.Fatal("the bucket was not listed")
	}
	for range 3 {
		ensure(t, s, baseimage.Request{})
	}
	if w.asked != 1 || w.listings() != once {
		t.Errorf("asked %d times, listed %d times, want 1 and %d", w.asked, w.listings(), once)
	}
	now = now.Add(11 * time.Minute)
	ensure(t, s, baseimage.Request{})
	if w.asked != 2 || w.listings() != 2*once {
		t.Errorf("after eleven minutes: asked %d times, listed %d times, want 2 and %d", w.asked, w.listings(), 2*once)
	}
	ensure(t, s, baseimage.Request{ForceDownload: true})
	if w.asked != 3 || w.listings() != 3*once {
		t.Errorf("forced: asked %d times, listed %d times, want 3 and %d", w.asked, w.listings(), 3*once)
	}
}

func TestLTSIsNotLookedUpAgainOnceItIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ci)
	if b := ensure(t, w.open(t), baseimage.Request{Preset: baseimage.LTS}); b.ID != pinned || b.FirecrackerVersion.String() != "v1.7.0" {
		t.Errorf("got %s for %s", b.ID, b.FirecrackerVersion)
	}
	once := w.listings()
	b := ensure(t, w.open(t), baseimage.Request{Preset: baseimage.LTS})
	if b.ID != pinned || w.listings() != once {
		t.Errorf("got %s after %d more listings", b.ID, w.listings()-once)
	}
	flip(t, b.Rootfs.Path) // and can be repaired all the same
	b = ensure(t, w.open(t), baseimage.Request{Preset: baseimage.LTS})
	holds(t, b, []byte(train7+"vmlinux-5.10.217"), []byte(train7+"ubuntu-22.04.squashfs"))
	if w.listings() != once || w.asked != 0 {
		t.Errorf("listed %d more times, asked for the newest release %d times", w.listings()-once, w.asked)
	}
	ensure(t, w.open(t), baseimage.Request{Preset: baseimage.LTS, ForceDownload: true})
	if w.listings() == once {
		t.Error("a forced download does not look it up")
	}
}

func TestCacheStandsInForASourceThatCannotBeReached(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(w *world){
		"release":  func(w *world) { w.fails = unreachable() },
		"bucket":   func(w *world) { w.down() },
		"artifact": func(w *world) { w.site.Misbehave("/bucket/"+newBuild+"vmlinux-6.18.39", fetchtest.Fault{Status: 503}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, without(ci, newBuild))
			w.fails = nil
			if b := ensure(t, w.open(t), baseimage.Request{}); b.ID != previous {
				t.Fatalf("got %s, want %s", b.ID, previous)
			}
			for _, key := range ci {
				w.site.PutObject(key, []byte(key), modified)
			}
			cut(w)
			s := w.open(t)
			now := time.Now()
			baseimage.SetClock(s, func() time.Time { return now })
			b := ensure(t, s, baseimage.Request{})
			if b.ID != previous {
				t.Errorf("got %s, want %s", b.ID, previous)
			}
			wantText(t, w.log.String(), "level=WARN", "can't be reached", previous)
			_, err := w.open(t).Ensure(t.Context(), baseimage.Request{ForceDownload: true})
			if err == nil {
				t.Error("a forced download took it from the cache")
			}

			// It is not tried again for each VM, but a minute later.
			asked, listed := w.asked, w.listings()
			ensure(t, s, baseimage.Request{})
			if w.asked != asked || w.listings() != listed {
				t.Error("asked again at once")
			}
			w.fails = nil
			w.site.Misbehave("/bucket", fetchtest.Fault{})
			w.site.Misbehave("/bucket/"+newBuild+"vmlinux-6.18.39", fetchtest.Fault{})
			now = now.Add(2 * time.Minute)
			if b := ensure(t, s, baseimage.Request{}); b.ID != newest {
				t.Errorf("got %s, want %s", b.ID, newest)
			}
		})
	}
}

func TestAnAnswerThatSaysNoIsNotPaperedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ci)
	ensure(t, w.open(t), baseimage.Request{})
	w.site.Misbehave("/bucket", fetchtest.Fault{Status: 403})
	_, err := w.open(t).Ensure(t.Context(), baseimage.Request{})
	wantCode(t, err, errcode.BaseImageResolveFailed)
	w.site.Misbehave("/bucket", fetchtest.Fault{})
	w.fails = &errcode.Error{Code: errcode.VersionFetchFailed, Op: "ask", Err: &errcode.Error{Code: errcode.DownloadFailed, Op: "look up", StatusCode: 404}}
	_, err = w.open(t).Ensure(t.Context(), baseimage.Request{})
	wantCode(t, err, errcode.VersionFetchFailed)
}

func TestOfflineTakesTheNewestOfTheCacheOrSaysWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ci)
	opts := w.options()
	opts.Retention = 9
	v12 := firecracker.Version{Major: 1, Minor: 12, Patch: 1}
	offline := opts
	offline.Offline, offline.LatestVersion = true, nil
	_, err := w.with(t, offline).Ensure(t.Context(), baseimage.Request{})
	wantCode(t, err, errcode.BaseImageResolveFailed)
	wantText(t, err.Error(), "latest", "the cache has nothing")

	s := w.with(t, opts)
	ensure(t, s, baseimage.Request{})
	ensure(t, s, baseimage.Request{FirecrackerVersion: v12})
	shut(t, s)
	listed := w.listings()
	for _, tt := range []struct {
		req  baseimage.Request
		want string // id
	}{
		{baseimage.Request{}, newest},
		{baseimage.Request{FirecrackerVersion: version(t, "v1.16.1")}, newest},
		{baseimage.Request{FirecrackerVersion: version(t, "v1.16.9")}, newest},
		{baseimage.Request{FirecrackerVersion: v12}, older},
		{baseimage.Request{FirecrackerVersion: version(t, "v1.12.3")}, older},
		{baseimage.Request{FirecrackerVersion: version(t, "v1.12.0")}, ""},
		{baseimage.Request{FirecrackerVersion: version(t, "v1.16.0")}, ""}, // it knows no kernel 6.18
		{baseimage.Request{Preset: baseimage.LTS}, ""},
	} {
		b, err := w.with(t, offline).Ensure(t.Context(), tt.req)
		if tt.want != "" {
			if err != nil || b.ID != tt.want {
				t.Errorf("%+v: got %+v, error %v", tt.req, b, err)
			} else if v := tt.req.FirecrackerVersion; !v.IsZero() && b.FirecrackerVersion != v {
				t.Errorf("%+v: got it for %s", tt.req, b.FirecrackerVersion)
			}
			continue
		}
		wantCode(t, err, errcode.BaseImageResolveFailed)
		wantText(t, err.Error(), newest, older, "--offline")
	}
	if w.listings() != listed || w.log.String() != "" {
		t.Errorf("offline: %d listings, log %s", w.listings()-listed, w.log.String())
	}
}

// A build that was asked for two releases stands in for both, and those between.
func TestABundleIsKnownForAllReleasesThatShareIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ci)
	for _, v := range []string{"v1.12.2", "v1.12.0", "v1.12.1"} {
		b := ensure(t, w.open(t), baseimage.Request{FirecrackerVersion: version(t, v)})
		if b.ID != older || b.FirecrackerVersion.String() != v {
			t.Errorf("for %s: got %s for %s", v, b.ID, b.FirecrackerVersion)
		}
	}
	opts := w.options()
	opts.Offline = true
	for _, v := range []string{"v1.12.0", "v1.12.1", "v1.12.2"} {
		if b := ensure(t, w.with(t, opts), baseimage.Request{FirecrackerVersion: version(t, v)}); b.ID != older {
			t.Errorf("for %s: got %s", v, b.ID)
		}
	}
}

func TestTheFirstDownloadIsTrustedFromThenOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ci)
	key := newBuild + "ubuntu-24.04.squashfs"
	b := ensure(t, w.open(t), baseimage.Request{})
	kernel, first, second := []byte(newBuild+"vmlinux-6.18.39"), []byte(key), []byte(strings.ToUpper(key))
	w.site.PutObject(key, second, modified) // published again under the same name
	s := w.open(t)
	holds(t, ensure(t, s, baseimage.Request{}), kernel, first)

	flip(t, b.Rootfs.Path)
	_, err := s.Ensure(t.Context(), baseimage.Request{})
	wantCode(t, err, errcode.DownloadFailed)
	wantText(t, err.Error(), sum(first), sum(second))
	shut(t, s)

	s = w.open(t)
	_, err = s.Ensure(t.Context(), baseimage.Request{ForceDownload: true})
	wantCode(t, err, errcode.BaseImageInUse) // by the first store
	shut(t, s)
}

func TestForceDownloadTakesWhatWasPublishedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ci)
	key := newBuild + "ubuntu-24.04.squashfs"
	s := w.open(t)
	ensure(t, s, baseimage.Request{})
	shut(t, s)
	again := []byte(strings.ToUpper(key) + " and more")
	w.site.PutObject(key, again, modified)
	holds(t, ensure(t, w.open(t), baseimage.Request{ForceDownload: true}), []byte(newBuild+"vmlinux-6.18.39"), again)
}

func TestAFileThatIsNotTheListedOneIsRefused(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{
		"size": []byte("short"),
		"ETag": []byte(strings.ToUpper(newBuild + "vmlinux-6.18.39")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ci)
			w.site.Misbehave("/bucket/"+newBuild+"vmlinux-6.18.39", fetchtest.Fault{Replace: data})
			s := w.open(t)
			_, err := s.Ensure(t.Context(), baseimage.Request{})
			wantCode(t, err, errcode.DownloadFailed)
			if got := list(t, s); len(got) != 0 {
				t.Errorf("the cache has %v", got)
			}
		})
	}
}

func TestTreeOfFilesServesOffline(t *testing.T) {
	t.Parallel()
	w, tree := newWorld(t, ci), t.TempDir()
	w.site.WriteTree(t, tree)
	opts := w.options()
	opts.BucketURL, opts.Offline = "file://"+filepath.Join(tree, "bucket"), true
	s := w.with(t, opts)
	b := ensure(t, s, baseimage.Request{})
	if b.ID != newest || b.Source.Location != opts.BucketURL+"/"+newBuild {
		t.Errorf("got %s from %s", b.ID, b.Source.Location)
	}
	if err := os.RemoveAll(tree); err != nil { // the stick is pulled out
		t.Fatal(err)
	}
	if b := ensure(t, w.with(t, opts), baseimage.Request{}); b.ID != newest {
		t.Errorf("got %s", b.ID)
	}
}
