package pack_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/pack"
)

var formats = []pack.Format{pack.Squashfs, pack.Ext4}

// needTools skips where an image of the format can't be made.
func needTools(t *testing.T, format pack.Format) {
	t.Helper()
	if format == pack.Squashfs {
		hosttest.Need(t, hosttest.Tool("sqfstar"))
		return
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if _, err := os.Stat(filepath.Join(dir, "resize2fs")); err == nil {
			return // where a user's PATH does not lead
		}
	}
	hosttest.Need(t, hosttest.Tool("resize2fs"))
}

// open opens a source until the test ends.
func open(t *testing.T, path string) *pack.Source {
	t.Helper()
	s, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// image packs a source and returns the path of the image.
func image(t *testing.T, s *pack.Source, o pack.Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rootfs")
	if err := pack.Image(t.Context(), s, path, o); err != nil {
		t.Fatal(err)
	}
	return path
}

// mounted returns what is in an image.
func mounted(t *testing.T, format pack.Format, path string) map[string]fact {
	t.Helper()
	root := hosttest.Mount(t, string(format), map[string]string{"source": hosttest.LoopDevice(t, path), "ro": ""})
	facts := factsOf(t, root.Name()+"/.")
	return facts
}

// compare allows for what the formats can't hold or add.
func compare(t *testing.T, format pack.Format, got, want map[string]fact) {
	t.Helper()
	if format == pack.Squashfs {
		for name := range want {
			delete(want[name].Xattrs, "system.posix_acl_access")
			delete(want[name].Xattrs, "system.posix_acl_default")
		}
	}
	if _, own := want["lost+found"]; !own {
		delete(got, "lost+found")
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s differs from its source (-source +image):\n%s", format, diff)
	}
}

func TestDirectorySurvivesPacking(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root, hosttest.Loop)
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			needTools(t, format)
			tree := nasty(t)
			want := factsOf(t, tree)
			compare(t, format, mounted(t, format, image(t, open(t, tree), pack.Options{Format: format})), want)
		})
	}
}

// gnuTar runs tar.
func gnuTar(t *testing.T, args ...string) {
	t.Helper()
	hosttest.Need(t, hosttest.Tool("tar"))
	if out, err := exec.CommandContext(t.Context(), "tar", args...).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
}

func TestTarSurvivesPackingAsGNUTarExtractsIt(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root, hosttest.Loop)
	for name, options := range map[string][]string{
		"pax": {"--format=posix", "--xattrs", "--xattrs-include=*"}, "gnu": {"--format=gnu"}, "gzip": {"--format=gnu", "-z"},
		"sparse": {"--format=posix", "--sparse"}, "oldsparse": {"--format=gnu", "--sparse"},
	} {
		tree := nasty(t)
		dir := t.TempDir()
		archive, extracted := filepath.Join(dir, "tar"), filepath.Join(dir, "extracted")
		gnuTar(t, append(options, "-C", tree, "-cf", archive, ".")...)
		if err := os.Mkdir(extracted, 0o700); err != nil {
			t.Fatal(err)
		}
		gnuTar(t, "--xattrs", "--xattrs-include=*", "-p", "--numeric-owner", "-C", extracted, "-xf", archive)
		for _, format := range formats {
			if format == pack.Ext4 && name != "pax" {
				continue // how a tar is written matters to its reader only
			}
			t.Run(name+" to "+string(format), func(t *testing.T) {
				t.Parallel()
				needTools(t, format)
				compare(t, format, mounted(t, format, image(t, open(t, archive), pack.Options{Format: format})), factsOf(t, extracted))
			})
		}
	}
}

func TestStreamIsPackedLikeItsFile(t *testing.T) {
	t.Parallel()
	tree := nasty(t)
	archive := filepath.Join(t.TempDir(), "tar.gz")
	gnuTar(t, "-C", tree, "-czf", archive, ".")
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			needTools(t, format)
			f, err := os.Open(archive)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			streamed := hashOf(t, image(t, pack.Tar("-", f), pack.Options{Format: format}))
			if file := hashOf(t, image(t, open(t, archive), pack.Options{Format: format})); streamed != file {
				t.Errorf("the image of the stream is %s, that of the file %s", streamed, file)
			}
		})
	}
}

func hashOf(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestSameTreeGivesSameBytes(t *testing.T) {
	t.Parallel()
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			needTools(t, format)
			tree := nasty(t)
			first := hashOf(t, image(t, open(t, tree), pack.Options{Format: format}))
			second := hashOf(t, image(t, open(t, tree), pack.Options{Format: format}))
			if first != second {
				t.Errorf("first %s, then %s", first, second)
			}
		})
	}
}

func TestAllRootGivesEverythingToRoot(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root, hosttest.Loop)
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			needTools(t, format)
			tree := nasty(t)
			want := factsOf(t, tree)
			for name, f := range want {
				f.UID, f.GID = 0, 0
				want[name] = f
			}
			compare(t, format, mounted(t, format, image(t, open(t, tree), pack.Options{Format: format, AllRoot: true})), want)
		})
	}
}
