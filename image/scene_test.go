package image_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/image/imagetest"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

// scene is a release site and a data directory.
type scene struct {
	site *fetchtest.Site
	opts image.Options // what Store opens
}

func newScene(t *testing.T) *scene {
	t.Helper()
	site := fetchtest.New(t)
	return &scene{site, image.Options{
		DataDir: filepath.Join(t.TempDir(), "data"), ReleaseURL: site.ReleaseURL(), Transport: site.Transport(),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}}
}

// Store opens a store with the options as they are now.
func (s *scene) Store(t *testing.T) *image.Store {
	t.Helper()
	store, err := image.NewStore(s.opts)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// publish puts a release on the site.
func (s *scene) publish(t *testing.T, version string) *imagetest.Release {
	t.Helper()
	r := imagetest.NewRelease(version, image.Arch())
	s.site.PutRelease(version, r.Arch, r.Archive(t))
	return r
}

// archivePath is where the content of a release file is on the site.
func archivePath(r *imagetest.Release) string {
	return "/storage/releases/" + r.Version + "/" + r.Firecracker() + ".tgz"
}

// download asks for a release.
func (s *scene) download(t *testing.T, version string) (image.Release, error) {
	t.Helper()
	return s.Store(t).DownloadFirecracker(t.Context(), parse(t, version))
}

// checkCode fails unless err has that code, a subject or an operation that says
// what it is about, and none of the secrets.
func checkCode(t *testing.T, err error, want errcode.Code) *errcode.Error {
	t.Helper()
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	if strings.Contains(err.Error(), fetchtest.Signature) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a secret is in the error: %v", err)
	}
	return e
}

// tree lists the regular files below the data directory, without lock files.
func (s *scene) tree(t *testing.T) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(s.opts.DataDir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == s.opts.DataDir {
			return nil
		}
		if err != nil || d.IsDir() && !strings.HasPrefix(d.Name(), ".") || strings.HasSuffix(path, ".lock") {
			return err
		}
		name, _ := strings.CutPrefix(path, s.opts.DataDir+"/")
		got[name] = ""
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			got[name] = string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// installed is what the tree has once a release is installed.
func installed(r *imagetest.Release) map[string]string {
	sums := string(r.Files["SHA256SUMS"])
	var record strings.Builder
	for _, name := range []string{r.Jailer(), r.Firecracker()} {
		for line := range strings.Lines(sums) {
			if strings.HasSuffix(line, "/"+name+"\n") {
				record.WriteString(strings.Replace(line, "./", "", 1))
			}
		}
	}
	return map[string]string{
		"bin/" + r.Firecracker():                     string(r.Files[r.Firecracker()]),
		"bin/" + r.Jailer():                          string(r.Files[r.Jailer()]),
		"bin/SHA256SUMS-" + r.Version + "-" + r.Arch: record.String(),
	}
}

// flip changes one bit in the middle of a file and keeps its times.
func flip(t *testing.T, path string) error {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	return errors.Join(os.WriteFile(path, data, info.Mode()), os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// until waits for a condition that another goroutine or process brings about.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); !done(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
