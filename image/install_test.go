package image_test

import (
	"bytes"
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
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/image/imagetest"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

// otherArch is the architecture that this machine has not.
func otherArch() string {
	return map[string]string{"x86_64": "aarch64", "aarch64": "x86_64"}[image.Arch()]
}

func TestDownloadedReleaseIsInPlaceAndNothingElseIs(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.publish(t, "v1.12.1")
	got, err := s.download(t, "v1.12.1")
	if err != nil {
		t.Fatal(err)
	}
	v := parse(t, "v1.12.1")
	want := image.Release{
		Version: v, Arch: image.Arch(),
		Firecracker: image.FirecrackerPath(s.opts.DataDir, v, image.Arch()), Jailer: image.JailerPath(s.opts.DataDir, v, image.Arch()),
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if diff := cmp.Diff(installed(r), s.tree(t)); diff != "" {
		t.Error(diff)
	}
	for path, mode := range map[string]os.FileMode{got.Firecracker: 0o755, got.Jailer: 0o755, filepath.Dir(got.Jailer): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode(), err, mode)
		}
	}
}

// It is not parallel, since PATH is looked at first.
func TestFindSeesWhatTheStoreKeeps(t *testing.T) {
	t.Setenv("PATH", "")
	s := newScene(t)
	foreign := imagetest.NewRelease("v1.13.0", otherArch())
	s.site.PutRelease(foreign.Version, foreign.Arch, foreign.Archive(t))
	for _, v := range []string{"v1.12.1", "v1.9.2"} {
		s.publish(t, v)
		if _, err := s.download(t, v); err != nil {
			t.Fatal(err)
		}
	}
	s.opts.Arch = foreign.Arch
	if _, err := s.download(t, foreign.Version); err != nil {
		t.Fatal(err)
	}
	for want, found := range map[firecracker.Version]string{{}: "v1.12.1", parse(t, "v1.9.2"): "v1.9.2", parse(t, "v1.13.0"): ""} {
		b, err := image.Find(t.Context(), "", s.opts.DataDir, want)
		switch {
		case found == "" && !errors.Is(err, errcode.BinaryNotFound):
			t.Errorf("%v: found %+v, %v", want, b, err)
		case found != "" && (err != nil || b.Version != parse(t, found) || b.Path != image.FirecrackerPath(s.opts.DataDir, b.Version, image.Arch())):
			t.Errorf("%v: found %+v, %v", want, b, err)
		}
	}
}

func TestReleaseThatIsThereNeedsNoNetwork(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.publish(t, "v1.12.1")
	store := s.Store(t)
	first, err := store.DownloadFirecracker(t.Context(), parse(t, "v1.12.1"))
	if err != nil {
		t.Fatal(err)
	}
	s.opts.Offline = true
	s.opts.ReleaseURL = "http://127.0.0.1:1/nobody"
	for range 2 {
		for _, again := range []*image.Store{store, s.Store(t)} {
			if got, err := again.DownloadFirecracker(t.Context(), parse(t, "v1.12.1")); err != nil || got != first {
				t.Errorf("got %+v, %v", got, err)
			}
		}
	}
}

func TestDamagedReleaseIsFetchedAgain(t *testing.T) {
	t.Parallel()
	link := func(path string) error {
		return errors.Join(os.Rename(path, path+".real"), os.Symlink(filepath.Base(path)+".real", path))
	}
	damages := map[string]func(t *testing.T, r image.Release) error{
		"a bit of firecracker": func(t *testing.T, r image.Release) error { t.Helper(); return flip(t, r.Firecracker) },
		"a bit of jailer":      func(t *testing.T, r image.Release) error { t.Helper(); return flip(t, r.Jailer) },
		"no firecracker":       func(_ *testing.T, r image.Release) error { return os.Remove(r.Firecracker) },
		"no jailer":            func(_ *testing.T, r image.Release) error { return os.Remove(r.Jailer) },
		"a shorter jailer":     func(_ *testing.T, r image.Release) error { return os.Truncate(r.Jailer, 100) },
		"not executable":       func(_ *testing.T, r image.Release) error { return os.Chmod(r.Jailer, 0o600) },
		"a link":               func(_ *testing.T, r image.Release) error { return link(r.Firecracker) },
		"no record":            func(_ *testing.T, r image.Release) error { return os.Remove(recordOf(r)) },
		"an empty record":      func(_ *testing.T, r image.Release) error { return os.Truncate(recordOf(r), 0) },
		"a record of others": func(_ *testing.T, r image.Release) error {
			return os.WriteFile(recordOf(r), fmt.Appendf(nil, "%x  other\n", sha256.Sum256(nil)), 0o600)
		},
		"a huge record": func(_ *testing.T, r image.Release) error { return os.Truncate(recordOf(r), 1<<30) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			r := s.publish(t, "v1.12.1")
			store := s.Store(t)
			for range 2 { // the second time its hashes are remembered
				if _, err := store.DownloadFirecracker(t.Context(), parse(t, "v1.12.1")); err != nil {
					t.Fatal(err)
				}
			}
			stored, err := store.Releases()
			if err != nil || len(stored) != 1 {
				t.Fatal(stored, err)
			}
			if err := damage(t, stored[0]); err != nil {
				t.Fatal(err)
			}
			if err := store.Verify(t.Context(), stored[0].Version); err == nil {
				t.Error("the damage is not seen")
			}
			if _, err := store.DownloadFirecracker(t.Context(), parse(t, "v1.12.1")); err != nil {
				t.Fatal(err)
			}
			tree := s.tree(t)
			delete(tree, "bin/"+r.Firecracker()+".real")
			if diff := cmp.Diff(installed(r), tree); diff != "" {
				t.Error(diff)
			}
			if err := store.Verify(t.Context(), stored[0].Version); err != nil {
				t.Error(err)
			}
			if n := s.site.Requests(archivePath(r)); n != 2 {
				t.Errorf("%d requests for the archive, want 2", n)
			}
		})
	}
}

func recordOf(r image.Release) string {
	return filepath.Join(filepath.Dir(r.Firecracker), "SHA256SUMS-"+r.Version.String()+"-"+r.Arch)
}

func TestBadReleaseIsRefusedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	const v = "v1.12.1"
	tests := map[string]struct {
		change func(r *imagetest.Release) // before it is packed
		site   func(s *fetchtest.Site, r *imagetest.Release)
		code   errcode.Code
		text   string
	}{
		"wrong published hash": {code: errcode.DownloadFailed, text: "sha256", site: func(s *fetchtest.Site, r *imagetest.Release) {
			s.Put(archivePath(r)+".sha256.txt", fmt.Appendf(nil, "%x  %s.tgz\n", sha256.Sum256([]byte("other")), r.Firecracker()))
		}},
		"published hash of another file": {code: errcode.DownloadFailed, text: "no hash", site: func(s *fetchtest.Site, r *imagetest.Release) {
			s.Put(archivePath(r)+".sha256.txt", fmt.Appendf(nil, "%x  other.tgz\n", sha256.Sum256([]byte("other"))))
		}},
		"published hash is a page": {code: errcode.DownloadFailed, text: "line 1", site: func(s *fetchtest.Site, r *imagetest.Release) {
			s.Put(archivePath(r)+".sha256.txt", []byte("<html>sign in</html>"))
		}},
		"huge published hash": {code: errcode.DownloadFailed, text: "limit", site: func(s *fetchtest.Site, r *imagetest.Release) {
			s.Misbehave(archivePath(r)+".sha256.txt", fetchtest.Fault{Endless: true})
		}},
		"no published hash": {code: errcode.DownloadFailed, text: "404", site: func(s *fetchtest.Site, r *imagetest.Release) {
			s.Misbehave(archivePath(r)+".sha256.txt", fetchtest.Fault{Status: 404})
		}},
		"no archive": {code: errcode.DownloadFailed, text: "such a release", site: func(s *fetchtest.Site, r *imagetest.Release) {
			s.Misbehave(archivePath(r), fetchtest.Fault{Status: 404})
		}},
		"not an archive": {code: errcode.DownloadFailed, text: "gzip", site: func(s *fetchtest.Site, r *imagetest.Release) {
			s.PutRelease(v, r.Arch, []byte("<html>sign in</html>"))
		}},
		"member unlike its hash": {code: errcode.DownloadFailed, text: "listed is", change: func(r *imagetest.Release) {
			r.Files[r.Jailer()] = imagetest.Program(r.Arch, "Jailer "+v+" or so\n")
		}},
		"member without a hash": {code: errcode.DownloadFailed, text: "does not list", change: func(r *imagetest.Release) {
			r.Files["SHA256SUMS"] = fmt.Appendf(nil, "%x  ./%s\n", sha256.Sum256(r.Files[r.Jailer()]), r.Jailer())
		}},
		"hashes that can't be read": {code: errcode.DownloadFailed, text: "line 1", change: func(r *imagetest.Release) {
			r.Files["SHA256SUMS"] = []byte("none\n")
		}},
		"no hashes":      {code: errcode.DownloadFailed, text: "SHA256SUMS", change: func(r *imagetest.Release) { delete(r.Files, "SHA256SUMS") }},
		"no jailer":      {code: errcode.DownloadFailed, text: "jailer-", change: func(r *imagetest.Release) { delete(r.Files, r.Jailer()); r.List() }},
		"no firecracker": {code: errcode.DownloadFailed, text: "firecracker-", change: func(r *imagetest.Release) { delete(r.Files, r.Firecracker()); r.List() }},
		"members elsewhere": {code: errcode.DownloadFailed, text: "has no file", change: func(r *imagetest.Release) {
			r.Files["sub/"+r.Jailer()] = r.Files[r.Jailer()]
			delete(r.Files, r.Jailer())
		}},
		"a name that leads out": {code: errcode.DownloadFailed, text: "leads out", change: func(r *imagetest.Release) {
			r.Files["../../evil"] = []byte("evil")
		}},
		"firecracker for another machine": {code: errcode.BinaryUnusable, text: "is made for", change: func(r *imagetest.Release) {
			r.Files[r.Firecracker()] = imagetest.Program(otherArch(), "Firecracker "+v+"\n")
			r.List()
		}},
		"jailer for another machine": {code: errcode.BinaryUnusable, text: "is made for", change: func(r *imagetest.Release) {
			r.Files[r.Jailer()] = imagetest.Program(otherArch(), "Jailer "+v+"\n")
			r.List()
		}},
		"firecracker is a script": {code: errcode.BinaryUnusable, text: "not a program", change: func(r *imagetest.Release) {
			r.Files[r.Firecracker()] = []byte("#!/bin/sh\necho Firecracker " + v)
			r.List()
		}},
		"firecracker of another version": {code: errcode.BinaryUnusable, text: "asked for", change: func(r *imagetest.Release) {
			r.Files[r.Firecracker()] = imagetest.Program(r.Arch, "Firecracker v1.12.0\n")
			r.List()
		}},
		"jailer is another program": {code: errcode.BinaryUnusable, text: "not Jailer", change: func(r *imagetest.Release) {
			r.Files[r.Jailer()] = imagetest.Program(r.Arch, "Firecracker "+v+"\n")
			r.List()
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			r := imagetest.NewRelease(v, image.Arch())
			if tt.change != nil {
				tt.change(r)
			}
			s.site.PutRelease(v, r.Arch, r.Archive(t))
			if tt.site != nil {
				tt.site(s.site, r)
			}
			_, err := s.download(t, v)
			checkCode(t, err, tt.code)
			if !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v does not say %q", err, tt.text)
			}
			for name := range s.tree(t) {
				if !strings.HasSuffix(name, ".part") && !strings.HasSuffix(name, ".part.json") {
					t.Errorf("it left %s", name)
				}
			}
			if releases, err := s.Store(t).Releases(); err != nil || len(releases) != 0 {
				t.Errorf("stored are %v, %v", releases, err)
			}
		})
	}
}

func TestReleaseForAnotherMachineIsKeptButNotRun(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.opts.Arch = otherArch()
	r := imagetest.NewRelease("v1.12.1", otherArch())
	s.site.PutRelease(r.Version, r.Arch, r.Archive(t))
	if _, err := s.download(t, "v1.12.1"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(installed(r), s.tree(t)); diff != "" {
		t.Error(diff)
	}
}

func TestConcurrentCallersShareOneDownload(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.publish(t, "v1.12.1")
	s.site.Misbehave(archivePath(r), fetchtest.Fault{Trickle: 64})
	stores := []*image.Store{s.Store(t), s.Store(t)} // as in two processes
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			got, err := stores[i%2].DownloadFirecracker(t.Context(), parse(t, "v1.12.1"))
			if err != nil {
				t.Error(err)
				return
			}
			if data, err := os.ReadFile(got.Firecracker); err != nil || !bytes.Equal(data, r.Files[r.Firecracker()]) {
				t.Errorf("got something else, %v", err)
			}
		})
	}
	group.Wait()
	if n := s.site.Requests(archivePath(r)); n != 1 {
		t.Errorf("%d requests for the archive, want 1", n)
	}
	if diff := cmp.Diff(installed(r), s.tree(t)); diff != "" {
		t.Error(diff)
	}
}

func TestWaitingCallerCanGiveUp(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.publish(t, "v1.12.1")
	s.site.Misbehave(archivePath(r), fetchtest.Fault{Stall: true})
	first, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		_, err := s.Store(t).DownloadFirecracker(first, parse(t, "v1.12.1"))
		checkCode(t, err, errcode.Cancelled)
	})
	until(t, "the first to download", func() bool { return s.site.Requests(archivePath(r)) > 0 })
	reason := errors.New("no longer wanted")
	second, cancel := context.WithCancelCause(t.Context())
	group.Go(func() {
		_, err := s.Store(t).DownloadFirecracker(second, parse(t, "v1.12.1"))
		if checkCode(t, err, errcode.Cancelled); !errors.Is(err, reason) {
			t.Errorf("got %v, want the cause", err)
		}
		stop()
	})
	cancel(reason)
	group.Wait()

	s.site.Misbehave(archivePath(r), fetchtest.Fault{})
	if _, err := s.download(t, "v1.12.1"); err != nil {
		t.Errorf("after both gave up: %v", err)
	}
}

func TestOfflineStoreNamesWhatItWouldNeed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.publish(t, "v1.12.1")
	s.opts.Offline = true
	_, err := s.download(t, "v1.12.1")
	checkCode(t, err, errcode.DownloadFailed)
	if !strings.Contains(err.Error(), "firecracker-v1.12.1") {
		t.Errorf("%v does not name the file", err)
	}
	if _, err := s.Store(t).LatestVersion(t.Context()); checkCode(t, err, errcode.VersionFetchFailed).Hint == "" {
		t.Errorf("%v has no hint", err)
	}
}

func TestTreeOfFilesIsAMirrorWithoutNetwork(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.publish(t, "v1.9.0")
	s.publish(t, "v1.10.2")
	s.site.SetLatest("v1.9.0") // which is lost in a tree
	dir := filepath.Join(t.TempDir(), "a tree")
	s.site.WriteTree(t, dir)
	s.opts.Offline, s.opts.ReleaseURL = true, "file://"+strings.ReplaceAll(dir, " ", "%20")+"/releases/"
	if got, err := s.Store(t).LatestVersion(t.Context()); err != nil || got != parse(t, "v1.10.2") {
		t.Errorf("latest is %v, %v", got, err)
	}
	if _, err := s.download(t, "v1.9.0"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(installed(r), s.tree(t)); diff != "" {
		t.Error(diff)
	}
	if n := s.site.Requests(archivePath(r)); n != 0 {
		t.Errorf("%d requests over the network", n)
	}
	_, err := s.download(t, "v1.11.0")
	if e := checkCode(t, err, errcode.DownloadFailed); !strings.Contains(e.Hint, "such a release") {
		t.Errorf("got %v, want that there is none", err)
	}
}

func TestMirrorMayHaveAPathAndAPassword(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := imagetest.NewRelease("v1.12.1", image.Arch())
	archive := r.Archive(t)
	at := "/mirror/of/releases/download/v1.12.1/" + r.Firecracker() + ".tgz"
	s.site.Put(at, archive)
	s.site.Put(at+".sha256.txt", fmt.Appendf(nil, "%X *./%s.tgz\r\n", sha256.Sum256(archive), r.Firecracker()))
	s.opts.ReleaseURL = strings.Replace(s.site.URL("/mirror/of/releases"), "//", "//user:s3cret@", 1)
	if _, err := s.download(t, "v1.12.1"); err != nil {
		t.Fatal(err)
	}
	for _, header := range s.site.Headers(at) {
		if header.Get("Authorization") == "" {
			t.Error("the password was not sent")
		}
	}
	_, err := s.download(t, "v1.12.2")
	if e := checkCode(t, err, errcode.DownloadFailed); e.StatusCode != http.StatusNotFound {
		t.Errorf("got %+v, want status 404", e)
	}
	_, err = s.Store(t).LatestVersion(t.Context())
	checkCode(t, err, errcode.VersionFetchFailed)
}

func TestInterruptedDownloadIsTakenUp(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := imagetest.NewRelease("v1.12.1", image.Arch())
	r.Files["big"] = noise(300_000)
	archive := r.Archive(t)
	s.site.PutRelease(r.Version, r.Arch, archive)
	s.site.Misbehave(archivePath(r), fetchtest.Fault{Cut: true, CutAfter: int64(len(archive)) / 2, Times: 1})
	if _, err := s.download(t, "v1.12.1"); err != nil {
		t.Fatal(err)
	}
	if headers := s.site.Headers(archivePath(r)); len(headers) != 2 || headers[1].Get("Range") == "" {
		t.Errorf("requests %v, want a second one for the rest", headers)
	}
}

// noise can't be compressed.
func noise(n int) []byte {
	var out []byte
	for sum := sha256.Sum256(nil); len(out) < n; sum = sha256.Sum256(sum[:]) {
		out = append(out, sum[:]...)
	}
	return out[:n]
}

func TestDirectoryThatOthersMayWriteToIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.publish(t, "v1.12.1")
	bin := image.BinDir(s.opts.DataDir)
	if err := errors.Join(os.MkdirAll(bin, 0o700), os.Chmod(bin, 0o777)); err != nil {
		t.Fatal(err)
	}
	_, err := s.download(t, "v1.12.1")
	checkCode(t, err, errcode.InsecurePath)
	checkCode(t, s.Store(t).Remove(t.Context(), parse(t, "v1.12.1")), errcode.InsecurePath)
}

func TestVersionIsRequired(t *testing.T) {
	t.Parallel()
	_, err := newScene(t).Store(t).DownloadFirecracker(t.Context(), firecracker.Version{})
	checkCode(t, err, errcode.InvalidConfig)
}
