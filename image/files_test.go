package image_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

var kernel = noise(100_000)

// source puts the kernel on the site.
func (s *scene) source() image.FileSource {
	s.site.Put("/vmlinux-6.1", kernel)
	return image.FileSource{URL: s.site.URL("/vmlinux-6.1"), SHA256: fmt.Sprintf("%x", sha256.Sum256(kernel)), SizeBytes: int64(len(kernel))}
}

func TestFilesAreKeptUnderTheirNames(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	store := s.Store(t)
	src := s.source()
	got, err := store.DownloadKernel(t.Context(), src, "")
	if want := image.KernelPath(s.opts.DataDir, "vmlinux-6.1"); err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	src.SHA256 = strings.ToUpper(src.SHA256)
	got, err = store.DownloadRootfs(t.Context(), src, "root.ext4")
	if want := image.RootfsPath(s.opts.DataDir, "root.ext4"); err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	want := map[string]string{"kernels/vmlinux-6.1": string(kernel), "rootfs/root.ext4": string(kernel)}
	if diff := cmp.Diff(want, s.tree(t)); diff != "" {
		t.Error(diff)
	}
	// Others reach the file in no way but by a jail that it is brought into.
	for path, want := range map[string]os.FileMode{filepath.Dir(got): os.ModeDir | 0o700, got: 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestFileThatIsThereIsFetchedOnlyIfItIsAnother(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		demand  func(*image.FileSource)
		change  func(t *testing.T, path string) error
		fetches int
	}{
		"unchanged":                    {fetches: 1},
		"a bit":                        {change: flip, fetches: 2},
		"a bit, nothing demanded":      {change: flip, demand: func(s *image.FileSource) { *s = image.FileSource{URL: s.URL} }, fetches: 1},
		"the size, no hash demanded":   {change: func(_ *testing.T, path string) error { return os.Truncate(path, 10) }, demand: func(s *image.FileSource) { s.SHA256 = "" }, fetches: 2},
		"a link to the same":           {change: linkInstead, fetches: 2},
		"a link, nothing demanded":     {change: linkInstead, demand: func(s *image.FileSource) { *s = image.FileSource{URL: s.URL} }, fetches: 2},
		"gone":                         {change: func(_ *testing.T, path string) error { return os.Remove(path) }, fetches: 2},
		"a hash, and no size demanded": {demand: func(s *image.FileSource) { s.SizeBytes = 0 }, fetches: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			store := s.Store(t)
			src := s.source()
			path, err := store.DownloadKernel(t.Context(), src, "")
			if err != nil {
				t.Fatal(err)
			}
			if tt.change != nil {
				if err := tt.change(t, path); err != nil {
					t.Fatal(err)
				}
			}
			if tt.demand != nil {
				tt.demand(&src)
			}
			if again, err := store.DownloadKernel(t.Context(), src, ""); err != nil || again != path {
				t.Fatal(again, err)
			}
			if n := s.site.Requests("/vmlinux-6.1"); n != tt.fetches {
				t.Errorf("%d requests, want %d", n, tt.fetches)
			}
			data, err := os.ReadFile(path)
			if tt.fetches == 2 && (err != nil || sha256.Sum256(data) != sha256.Sum256(kernel)) {
				t.Errorf("it is another content, %v", err)
			}
			if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
				t.Errorf("it is %v, %v", info.Mode(), err)
			}
		})
	}
}

func linkInstead(t *testing.T, path string) error {
	t.Helper()
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	return errors.Join(os.WriteFile(elsewhere, kernel, 0o600), os.Remove(path), os.Symlink(elsewhere, path))
}

func TestWrongFileDoesNotGetTheName(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	src := s.source()
	s.site.Misbehave("/vmlinux-6.1", fetchtest.Fault{Corrupt: true})
	_, err := s.Store(t).DownloadKernel(t.Context(), src, "k")
	checkCode(t, err, errcode.DownloadFailed)
	src.SizeBytes++
	_, err = s.Store(t).DownloadKernel(t.Context(), src, "k")
	checkCode(t, err, errcode.DownloadFailed)
	src.URL = s.site.URL("/missing")
	_, err = s.Store(t).DownloadRootfs(t.Context(), src, "k")
	if e := checkCode(t, err, errcode.DownloadFailed); e.StatusCode != http.StatusNotFound {
		t.Errorf("status %d", e.StatusCode)
	}
	if _, ok := s.tree(t)["kernels/k"]; ok {
		t.Error("it got the name")
	}
}

// badNames lead elsewhere, or look like a file of ours.
var badNames = []string{
	".", "..", "../x", "/x", "a/b", "a/", `a\b`, ".hidden", ".new-x", "a\x00b", "a\nb", "\x7f", strings.Repeat("x", 256),
}

func TestNameThatLeadsElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	store := s.Store(t)
	src := s.source()
	for _, name := range badNames {
		_, kernelErr := store.DownloadKernel(t.Context(), src, name)
		_, rootfsErr := store.DownloadRootfs(t.Context(), src, name)
		for _, err := range []error{kernelErr, rootfsErr} {
			checkCode(t, err, errcode.InvalidConfig)
		}
	}
	for _, url := range []string{s.site.URL("/"), s.site.URL("/a/.."), s.site.URL("/.hidden"), s.site.URL("/a%2fb%2f.."), ""} {
		_, err := store.DownloadKernel(t.Context(), image.FileSource{URL: url}, "")
		checkCode(t, err, errcode.InvalidConfig)
	}
	for _, src := range []image.FileSource{{URL: src.URL, SHA256: "abc"}, {URL: src.URL, SHA256: strings.Repeat("x", 64)}, {URL: src.URL, SizeBytes: -1}, {URL: "ftp://user:s3cret@host/k"}} {
		_, err := store.DownloadKernel(t.Context(), src, "k")
		checkCode(t, err, errcode.InvalidConfig)
	}
	if tree := s.tree(t); len(tree) != 0 {
		t.Errorf("it left %v", tree)
	}
}

func TestConcurrentCallersShareOneFile(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	src := s.source()
	s.site.Misbehave("/vmlinux-6.1", fetchtest.Fault{Trickle: 4096})
	var group sync.WaitGroup
	for range 6 {
		store := s.Store(t)
		group.Go(func() {
			if _, err := store.DownloadKernel(t.Context(), src, "k"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := s.site.Requests("/vmlinux-6.1"); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestCancelledDownloadSaysWhy(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	src := s.source()
	reason := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	_, err := s.Store(t).DownloadKernel(ctx, src, "k")
	if checkCode(t, err, errcode.Cancelled); !errors.Is(err, reason) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestPathsAreBelowTheDataDirectory(t *testing.T) {
	t.Parallel()
	v := parse(t, "v1.12.1")
	got := []string{
		image.BinDir("/d"), image.KernelsDir("/d"), image.RootfsDir("/d"), image.SocketsDir("/d"),
		image.FirecrackerPath("/d", v, "aarch64"), image.JailerPath("/d", v, "x86_64"),
		image.KernelPath("/d", "k"), image.RootfsPath("/d", "r"), image.SocketPath("/d", "vm-1"),
	}
	want := []string{
		"/d/bin", "/d/kernels", "/d/rootfs", "/d/sockets", "/d/bin/firecracker-v1.12.1-aarch64", "/d/bin/jailer-v1.12.1-x86_64",
		"/d/kernels/k", "/d/rootfs/r", "/d/sockets/vm-1.sock",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
