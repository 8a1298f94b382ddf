package baseimage_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

func TestManifestLocationsBecomeAbsolute(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	const refused = "a manifest from the web can't name a local file"
	tests := []struct{ at, url, path, want string }{
		{"/srv/m/a.json", "", "k/vm", "/srv/m/k/vm"},
		{"/srv/m/a.json", "", "../vm", "/srv/vm"},
		{"/srv/m/a.json", "", "/boot/vm", "/boot/vm"},
		{"file:///srv/m%20n/a.json", "", "vm", "/srv/m n/vm"},
		{"a.json", "", "vm", filepath.Join(here, "vm")},
		{"../a.json", "", "vm", filepath.Join(filepath.Dir(here), "vm")},
		{"/srv/a b%/m.json", "vm", "", "file:///srv/a%20b%25/vm"},
		{"/srv/m/a.json", "https://h/vm?x=y", "", "https://h/vm?x=y"},
		{"/srv/m/a.json", "file:///boot/vm", "", "file:///boot/vm"},
		{"https://h/m/a.json", "vm", "", "https://h/m/vm"},
		{"https://h/m/a.json?token=x", "../vm?a=b", "", "https://h/vm?a=b"},
		{"https://me:pw@h/m/a.json", "/vm", "", "https://me:pw@h/vm"},
		{"https://me:pw@h/m/a.json", "https://other/vm", "", "https://other/vm"},
		{"https://h/m/a.json", "", "/etc/shadow", refused},
		{"https://h/m/a.json", "", "vm", refused},
		{"http://h/m/a.json", "file:///etc/shadow", "", refused},
		{"http://h/m/a.json", "FILE:///etc/shadow", "", refused},
	}
	for _, tt := range tests {
		m := good()
		m.Kernel.URL, m.Kernel.Path = tt.url, tt.path
		m.Rootfs, m.Initrd = m.Kernel, m.Kernel
		before := *m
		got, err := m.Resolve(tt.at)
		if diff := cmp.Diff(&before, m); diff != "" {
			t.Errorf("%s: the manifest itself was changed:\n%s", tt.at, diff)
		}
		if tt.want == refused {
			if err == nil {
				t.Errorf("%s: %s%s is accepted", tt.at, tt.url, tt.path)
			} else if text := mistakes(t, err); !strings.HasPrefix(text, "kernel.") || !strings.Contains(text, "\nrootfs.") || !strings.Contains(text, "\ninitrd.") {
				t.Errorf("%s: got %q", tt.at, text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.at, err)
		} else if there := got.Kernel.URL + got.Kernel.Path; there != tt.want || got.Rootfs != got.Kernel || got.Initrd != got.Kernel {
			t.Errorf("%s: %s%s is at %s, want %s", tt.at, tt.url, tt.path, there, tt.want)
		}
	}
}

func TestLoadManifestReadsPathsAndURLs(t *testing.T) {
	t.Parallel()
	m := good()
	m.Kernel.URL = "vm"
	m.Rootfs = baseimage.ArtifactManifest{URL: "root", FileName: "root", SHA256: hashB}
	s := fetchtest.New(t)
	s.Put("/m/a.json", encode(t, m))
	dir := t.TempDir()
	s.WriteTree(t, dir)
	path := filepath.Join(dir, "m/a.json")
	for _, tt := range []struct{ at, want string }{
		{path, "file://" + dir + "/m/vm"},
		{"file://" + path, "file://" + dir + "/m/vm"},
		{s.URL("/m/a.json"), s.URL("/m/vm")},
	} {
		got, err := baseimage.LoadManifest(t.Context(), fetcher(s), tt.at)
		if err != nil {
			t.Errorf("%s: %v", tt.at, err)
		} else if got.Kernel.URL != tt.want {
			t.Errorf("%s: the kernel is at %s, want %s", tt.at, got.Kernel.URL, tt.want)
		}
	}
}

func TestLoadManifestSaysWhichOneFailed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := fetchtest.New(t)
	s.Put("/bad.json", []byte(`{"schemaVersion": 7}`))
	local := good()
	local.Rootfs.Path = "/etc/shadow"
	s.Put("/local.json", encode(t, local))
	s.Put("/large.json", append(encode(t, good()), make([]byte, 1<<20)...))
	s.Put("/cut.json", encode(t, good()))
	s.Misbehave("/cut.json", fetchtest.Fault{Cut: true, CutAfter: 20})
	s.Misbehave("/endless.json", fetchtest.Fault{Endless: true})
	secret := strings.Replace(s.URL("/none.json?token=hunter2"), "http://", "http://me:hunter2@", 1)
	tests := []struct {
		at    string
		code  errcode.Code
		inner error
		want  string
	}{
		{"", errcode.BaseImageManifestFailed, nil, "is not a path"},
		{filepath.Join(dir, "none.json"), errcode.BaseImageManifestFailed, os.ErrNotExist, dir + "/none.json"},
		{dir, errcode.BaseImageManifestFailed, errcode.DownloadFailed, dir},
		{"ftp://h/m.json", errcode.BaseImageManifestFailed, nil, "ftp://h/m.json"},
		{"https://me:hunter2@%zz/", errcode.BaseImageManifestFailed, nil, "is not a URL"},
		{"file://h/m.json", errcode.BaseImageManifestFailed, nil, "is not an http, https or file URL"},
		{secret, errcode.BaseImageManifestFailed, errcode.DownloadFailed, s.URL("/none.json")},
		{s.URL("/large.json"), errcode.BaseImageManifestFailed, errcode.DownloadFailed, "larger than the limit of 1048576 bytes"},
		{s.URL("/endless.json"), errcode.BaseImageManifestFailed, errcode.DownloadFailed, "larger than the limit of 1048576 bytes"},
		{s.URL("/cut.json"), errcode.BaseImageManifestFailed, io.ErrUnexpectedEOF, "/cut.json"},
		{s.URL("/bad.json"), errcode.InvalidBaseImageManifest, nil, s.URL("/bad.json") + ": schemaVersion: 7 is not known"},
		{s.URL("/local.json"), errcode.InvalidBaseImageManifest, nil, s.URL("/local.json") + ": rootfs.path: a manifest from the web"},
	}
	for _, tt := range tests {
		_, err := baseimage.LoadManifest(t.Context(), fetcher(s), tt.at)
		text := facts(t, err, tt.code)
		if !strings.Contains(text, tt.want) || strings.Contains(text, "hunter2") || tt.inner != nil && !errors.Is(err, tt.inner) {
			t.Errorf("%s: got %s, want %q in it and %v inside", tt.at, text, tt.want, tt.inner)
		}
	}

	offline := fetch.New(fetch.Options{Offline: true})
	_, err := baseimage.LoadManifest(t.Context(), offline, s.URL("/bad.json"))
	if text := facts(t, err, errcode.BaseImageManifestFailed); !strings.Contains(text, "--offline") {
		t.Errorf("got %s", text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = baseimage.LoadManifest(ctx, fetcher(s), s.URL("/bad.json"))
	facts(t, err, errcode.Cancelled)
}
