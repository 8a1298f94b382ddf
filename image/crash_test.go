package image_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/image/imagetest"
	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/proc"
)

// killAt runs the program up to its nth point. It returns the name of the point,
// or "" when the program has come to its end.
func killAt(t *testing.T, n int, program string, args ...string) string {
	t.Helper()
	point, _ := faulttest.Run(t, n, proc.Command{Path: program, Args: args, Env: []string{"NO_PROXY=*"}})
	return point
}

// Wherever the kill comes, no Firecracker is there without its jailer and both
// are whole, and the next call puts everything right.
func TestReleaseSurvivesKillAtEveryPoint(t *testing.T) {
	t.Parallel()
	program := faulttest.Build(t, "testdata/installer")
	r := imagetest.NewRelease("v1.12.1", image.Arch())
	installing := []string{"install: archive", "install: unpacked", "install: recorded", "install: placed " + r.Jailer(), "install: placed " + r.Firecracker()}
	t.Run("from the download on", func(t *testing.T) {
		t.Parallel()
		killInstaller(t, program, r, func(*scene) {})
	})
	// How often the download comes to a point depends on the time that it takes.
	t.Run("from the archive on", func(t *testing.T) {
		t.Parallel()
		points := killInstaller(t, program, r, func(s *scene) {
			bin := image.BinDir(s.opts.DataDir)
			if err := errors.Join(os.MkdirAll(bin, 0o700), os.WriteFile(filepath.Join(bin, r.Firecracker()+".tgz"), r.Archive(t), 0o600)); err != nil {
				t.Fatal(err)
			}
		})
		if diff := cmp.Diff(installing, points); diff != "" {
			t.Error(diff)
		}
	})
}

// killInstaller kills the program at one point after the other, each time in a
// scene that was prepared, and returns the points.
func killInstaller(t *testing.T, program string, r *imagetest.Release, prepare func(*scene)) (points []string) {
	t.Helper()
	for n := 1; ; n++ {
		s := newScene(t)
		s.site.PutRelease(r.Version, r.Arch, r.Archive(t))
		prepare(s)
		point := killAt(t, n, program, s.opts.DataDir, "release", s.opts.ReleaseURL, r.Version)
		if point == "" {
			return points
		}
		points = append(points, point)
		tree, want := s.tree(t), installed(r)
		for name, content := range want {
			if got, ok := tree[name]; ok && got != content {
				t.Errorf("killed at %s: %s is not whole", point, name)
			}
		}
		_, hasFirecracker := tree["bin/"+r.Firecracker()]
		if _, hasJailer := tree["bin/"+r.Jailer()]; hasFirecracker && !hasJailer {
			t.Errorf("killed at %s: there is no jailer", point)
		}
		before := s.site.Requests(archivePath(r))
		if _, err := s.download(t, r.Version); err != nil {
			t.Errorf("killed at %s: %v", point, err)
		}
		if again := s.site.Requests(archivePath(r)) - before; strings.HasPrefix(point, "install:") && again != 0 {
			t.Errorf("killed at %s: what was there is downloaded again", point)
		}
		if diff := cmp.Diff(want, s.tree(t)); diff != "" {
			t.Errorf("killed at %s: %s", point, diff)
		}
	}
}

func TestRootfsSurvivesKillAtEveryPoint(t *testing.T) {
	t.Parallel()
	program := faulttest.Build(t, "testdata/installer")
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, kernel, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, args := range map[string][]string{"blank": {"blank", "disk"}, "clone": {"clone", source, "disk"}} {
		kills := 0
		for n := 1; ; n++ {
			s := newScene(t)
			point := killAt(t, n, program, append([]string{s.opts.DataDir}, args...)...)
			if point == "" {
				break
			}
			kills++
			path := image.RootfsPath(s.opts.DataDir, "disk")
			if _, err := os.Stat(path); (err == nil) != (point == "draft: named") {
				t.Errorf("%s killed at %s: %v", what, point, err)
			}
			err := second(s.Store(t).CloneRootfs(t.Context(), source, "other"))
			if err := errors.Join(err, os.Remove(image.RootfsPath(s.opts.DataDir, "other"))); err != nil {
				t.Errorf("%s killed at %s: %v", what, point, err)
			}
			if tree := s.tree(t); len(tree) > 1 || len(tree) == 1 && point != "draft: named" {
				t.Errorf("%s killed at %s: a later call leaves %d files", what, point, len(tree))
			}
		}
		if kills != 2 {
			t.Errorf("%s was killed at %d points, want 2", what, kills)
		}
	}
}

func second(_ string, err error) error { return err }
