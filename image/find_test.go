package image_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/image"
	"github.com/smartvm/smartvm/internal/hosttest"
)

// The test binary is a Firecracker when the file of its name and ".says" has
// what it answers to --version: a program that is inspected gets no environment.
func TestMain(m *testing.M) {
	if text, err := os.ReadFile(os.Args[0] + ".says"); err == nil {
		fmt.Print(string(text))
		unix.Exit(0) // os.Exit sleeps a second in a program built with -race
	}
	os.Exit(m.Run())
}

// program makes a file at path that says text. Tests that use it are not parallel:
// a process that another one starts at the same time holds the file open for
// writing for a moment, and it could not be executed.
func program(t *testing.T, path, text string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(self, path); err != nil {
		copyFile(t, self, path)
	}
	if err := os.WriteFile(path+".says", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func release(t *testing.T, path, version string) string {
	t.Helper()
	return program(t, path, "Firecracker "+version+"\n\nFirecracker exiting successfully. exit_code=0\n")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(dst, src)
	if err := errors.Join(err, dst.Close()); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, text string) firecracker.Version {
	t.Helper()
	v, err := firecracker.ParseVersion(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestInspectTellsTheVersionOfTheRealOne(t *testing.T) {
	path := hosttest.Firecracker(t)
	got, err := image.Inspect(t.Context(), path)
	if err != nil || got.Version.IsZero() || !filepath.IsAbs(got.Path) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestInspectFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	path := release(t, filepath.Join(dir, "real"), "v1.12.1")
	link := filepath.Join(dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	got, err := image.Inspect(t.Context(), link)
	if want := (image.Binary{Path: path, Version: parse(t, "v1.12.1")}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestInspectRefusesWhatIsNotFirecracker(t *testing.T) {
	for _, text := range []string{"", "Firecracker\n", "Firecracker vX\n", "Jailer v1.12.1\n", "v1.12.1\n"} {
		path := program(t, filepath.Join(t.TempDir(), "firecracker"), text)
		_, err := image.Inspect(t.Context(), path)
		e, ok := errors.AsType[*errcode.Error](err)
		if !ok || e.Code != errcode.BinaryUnusable || e.Subject != path || e.Hint == "" {
			t.Errorf("says %q: got %v, want BINARY_UNUSABLE with its path and a hint", text, err)
		}
	}
}

func TestInspectEndsWithItsContext(t *testing.T) {
	path := release(t, filepath.Join(t.TempDir(), "firecracker"), "v1.12.1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := image.Inspect(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestFindLooksAtThePathThenInPATHThenForTheNewestStored(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	stored := func(version string) string {
		return release(t, image.FirecrackerPath(data, parse(t, version), image.Arch()), version)
	}
	given := release(t, filepath.Join(dir, "given"), "v1.5.0")
	onPath := release(t, filepath.Join(dir, "path", "firecracker"), "v1.6.0")
	older, newest := stored("v1.9.0"), stored("v1.10.0")
	other := map[string]string{"amd64": "aarch64", "arm64": "x86_64"}[runtime.GOARCH]
	release(t, image.FirecrackerPath(data, parse(t, "v1.20.0"), other), "v1.20.0") // not for this machine
	full := filepath.Join(dir, "empty") + ":" + filepath.Dir(onPath)

	tests := []struct {
		name, path, env, want string
		found                 string
		code                  errcode.Code
	}{
		{name: "the given one", path: given, env: full, found: given},
		{name: "the given one of the demanded release", path: given, env: full, want: "v1.5.0", found: given},
		{name: "the given one is another", path: given, env: full, want: "v1.10.0", code: errcode.BinaryUnusable},
		{name: "the given one is missing", path: given + "-not", env: full, code: errcode.BinaryNotFound},
		{name: "PATH", env: full, found: onPath},
		{name: "PATH has another release than demanded", env: full, want: "v1.9.0", found: older},
		{name: "PATH has the demanded release", env: full, want: "v1.6.0", found: onPath},
		{name: "the newest stored, by number", env: "", found: newest},
		{name: "a relative entry of PATH does not count", env: "path:.", found: newest},
		{name: "nowhere", env: full, want: "v1.11.0", code: errcode.BinaryNotFound},
	}
	t.Chdir(dir)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", tt.env)
			var want firecracker.Version
			if tt.want != "" {
				want = parse(t, tt.want)
			}
			got, err := image.Find(t.Context(), tt.path, data, want)
			if tt.code != "" {
				e, ok := errors.AsType[*errcode.Error](err)
				if !ok || e.Code != tt.code || e.Hint == "" {
					t.Errorf("got %v, want %s with a hint", err, tt.code)
				}
				return
			}
			if err != nil || got.Path != tt.found {
				t.Errorf("got %+v, %v; want %s", got, err, tt.found)
			}
		})
	}
}

func TestStoredFileWithTheNameOfAnotherReleaseIsNotTheDemandedOne(t *testing.T) {
	t.Setenv("PATH", "")
	data := t.TempDir()
	release(t, image.FirecrackerPath(data, parse(t, "v1.9.0"), image.Arch()), "v1.8.0")
	_, err := image.Find(t.Context(), "", data, parse(t, "v1.9.0"))
	if !errors.Is(err, errcode.BinaryNotFound) {
		t.Errorf("got %v, want BINARY_NOT_FOUND", err)
	}
}

func TestDirectoryThatCannotBeSearchedIsSkipped(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("needs a user whom permissions bind")
	}
	closed := t.TempDir()
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", closed)
	if _, err := image.Find(t.Context(), "", t.TempDir(), firecracker.Version{}); !errors.Is(err, errcode.BinaryNotFound) {
		t.Errorf("got %v, want that there is none", err)
	}
}
