package image_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/image/imagetest"
	"github.com/smartvm/smartvm/internal/hosttest"
)

// The programs of the tests are made up; this holds them to the real ones.
func TestRealProgramsAreInstalled(t *testing.T) {
	t.Parallel()
	firecracker := hosttest.Firecracker(t)
	b, err := image.Inspect(t.Context(), firecracker)
	if err != nil {
		t.Fatal(err)
	}
	jailer, err := os.ReadFile(filepath.Join(filepath.Dir(b.Path), strings.Replace(filepath.Base(b.Path), "firecracker", "jailer", 1)))
	if err != nil {
		t.Skip("there is no jailer beside ", b.Path)
	}
	binary, err := os.ReadFile(b.Path)
	if err != nil {
		t.Fatal(err)
	}
	s := newScene(t)
	r := imagetest.NewRelease(b.Version.String(), image.Arch())
	r.Files[r.Firecracker()], r.Files[r.Jailer()] = binary, jailer
	r.List()
	s.site.PutRelease(r.Version, r.Arch, r.Archive(t))
	if _, err := s.Store(t).DownloadFirecracker(t.Context(), b.Version); err != nil {
		t.Error(err)
	}
	if err := s.Store(t).Verify(t.Context(), b.Version); err != nil {
		t.Error(err)
	}
}

func TestBusyProgramIsWaitedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "firecracker")
	busy, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := busy.Write(imagetest.Program(image.Arch(), "Firecracker v1.12.1\n")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := image.Inspect(ctx, path); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, unix.ETXTBSY) {
		t.Errorf("got %v, want that it was waited for", err)
	}
	if err := busy.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := image.Inspect(t.Context(), path); err != nil {
		t.Error(err)
	}
}
