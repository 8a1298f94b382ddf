package image_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

func TestLatestIsWhatTheSiteCallsSo(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.publish(t, "v1.14.4")
	s.publish(t, "v1.15.1")
	s.site.SetLatest("v1.14.4") // a fix that was ported back to an older train
	if got, err := s.Store(t).LatestVersion(t.Context()); err != nil || got != parse(t, "v1.14.4") {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestLatestSaysWhatTheSiteDoesInstead(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault  fetchtest.Fault
		text   string
		status int
	}{
		"no such page":        {fetchtest.Fault{Status: 404}, "404", 404},
		"forbidden":           {fetchtest.Fault{Status: 403}, "403", 403},
		"no release":          {fetchtest.Fault{Redirect: "/page/releases"}, "not the page of a release", 0},
		"behind a login":      {fetchtest.Fault{Redirect: "/page/login?return_to=s3cret"}, "not the page of a release", 0},
		"a release candidate": {fetchtest.Fault{Redirect: "/page/tag/v1.13.0-rc1"}, "not the page of a release", 0},
		"another page":        {fetchtest.Fault{Redirect: "/page/v1.13.0"}, "not the page of a release", 0},
		"a loop":              {fetchtest.Fault{Redirect: "/releases/latest"}, "redirect", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			for _, page := range []string{"/page/releases", "/page/login", "/page/tag/v1.13.0-rc1", "/page/v1.13.0"} {
				s.site.Put(page, []byte("a page"))
			}
			s.site.Misbehave("/releases/latest", tt.fault)
			_, err := s.Store(t).LatestVersion(t.Context())
			e := checkCode(t, err, errcode.VersionFetchFailed)
			if !strings.Contains(err.Error(), tt.text) || e.StatusCode != tt.status || e.Hint == "" {
				t.Errorf("got %+v, want %q, status %d and a hint", err, tt.text, tt.status)
			}
		})
	}
}

func TestLatestOfATreeIsTheHighestByNumber(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"v1.9.2", "v1.10.0", "v1.2.3", "v2.0.0-rc1", "v1.99", "latest"} {
		if err := os.MkdirAll(filepath.Join(dir, "download", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s := newScene(t)
	s.opts.ReleaseURL = "file://localhost" + dir
	if got, err := s.Store(t).LatestVersion(t.Context()); err != nil || got != parse(t, "v1.10.0") {
		t.Errorf("got %v, %v", got, err)
	}
	for _, path := range []string{filepath.Join(dir, "download", "latest"), filepath.Join(dir, "missing")} {
		s.opts.ReleaseURL = "file://" + path
		_, err := s.Store(t).LatestVersion(t.Context())
		checkCode(t, err, errcode.VersionFetchFailed)
	}
}

func TestStoreRefusesOptionsThatCanNotBeMeant(t *testing.T) {
	t.Parallel()
	tests := map[string]image.Options{
		"no data directory":   {},
		"another machine":     {DataDir: "d", Arch: "riscv64"},
		"Go's name for it":    {DataDir: "d", Arch: "amd64"},
		"no scheme":           {DataDir: "d", ReleaseURL: "user:s3cret@github.com/releases"},
		"another scheme":      {DataDir: "d", ReleaseURL: "ftp://user:s3cret@host/releases"},
		"no host":             {DataDir: "d", ReleaseURL: "https:///releases"},
		"a tree elsewhere":    {DataDir: "d", ReleaseURL: "file://host/releases"},
		"a relative tree":     {DataDir: "d", ReleaseURL: "file:releases"},
		"a query":             {DataDir: "d", ReleaseURL: "https://host/releases?token=s3cret"},
		"an empty query":      {DataDir: "d", ReleaseURL: "https://host/releases?"},
		"a fragment":          {DataDir: "d", ReleaseURL: "https://host/releases#s3cret"},
		"a control character": {DataDir: "d", ReleaseURL: "https://user:s3cret@host/\x7f"},
	}
	for name, opts := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := image.NewStore(opts)
			if e := checkCode(t, err, errcode.InvalidConfig); e.Subject == "" {
				t.Errorf("%v does not name the option", err)
			}
		})
	}
	if _, err := os.Stat("d"); err == nil {
		t.Error("a store was made on the disk")
	}
}

func FuzzTag(f *testing.F) {
	f.Add("https://github.com/firecracker-microvm/firecracker/releases/tag/v1.12.1")
	f.Add("https://host/releases/tag/v1.12.1?x=y#z")
	f.Add("https://host/releases")
	f.Add("https://host/v1.12.1")
	f.Add("https://host/login?return_to=/releases/tag/v1.12.1")
	f.Add("https://host/tag/v01.2.3")
	f.Add("http://host/tag/v99999.2.3")
	f.Fuzz(func(t *testing.T, target string) {
		v, err := image.ParseTag(target)
		if err != nil {
			if !v.IsZero() {
				t.Errorf("%v with %v", v, err)
			}
			return
		}
		u, err := url.Parse(target)
		if err != nil || !strings.HasSuffix(u.Path, "/tag/"+v.String()) || v.IsZero() {
			t.Errorf("%q gives %v", target, v)
		}
	})
}
