package stage

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
)

// openRoot opens a directory until the test ends.
func openRoot(tb testing.TB, dir string) *os.Root {
	tb.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = root.Close() })
	return root
}

func tmpfs(tb testing.TB, size string) *os.Root {
	tb.Helper()
	return hosttest.Mount(tb, "tmpfs", map[string]string{"size": size})
}

// onDisk makes a file system of the kind inside a sparse file and mounts it.
func onDisk(tb testing.TB, kind string, size int64) *os.Root {
	tb.Helper()
	hosttest.Need(tb, hosttest.Root, hosttest.Loop)
	image := filepath.Join(tb.TempDir(), kind)
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		tb.Fatal(err)
	}
	mkfs(tb, kind, image)
	return hosttest.Mount(tb, kind, map[string]string{"source": hosttest.LoopDevice(tb, image)})
}

func mkfs(tb testing.TB, kind, image string) {
	tb.Helper()
	debian := map[string]string{"xfs": "xfsprogs", "btrfs": "btrfs-progs", "ext4": "e2fsprogs"}[kind]
	if _, err := exec.LookPath("mkfs." + kind); err != nil {
		tb.Skipf("needs mkfs.%s from the Debian package %s", kind, debian)
	}
	if out, err := exec.CommandContext(tb.Context(), "mkfs."+kind, "-q", image).CombinedOutput(); err != nil {
		tb.Fatalf("mkfs.%s: %v\n%s", kind, err, out)
	}
}

// write makes a file of size bytes with random data in the given extents.
func write(tb testing.TB, dir *os.Root, name string, size int64, data ...extent) string {
	tb.Helper()
	f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		tb.Fatal(err)
	}
	for _, e := range data {
		if _, err := io.Copy(io.NewOffsetWriter(f, e.offset), io.LimitReader(rand.Reader, e.length)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir.Name(), name)
}

func hash(tb testing.TB, name string) string {
	tb.Helper()
	f, err := os.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func blocks(tb testing.TB, name string) int64 {
	tb.Helper()
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		tb.Fatal(err)
	}
	return st.Blocks * 512
}

// names lists what a directory holds.
func names(tb testing.TB, dir *os.Root) []string {
	tb.Helper()
	d, err := dir.Open(".")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	list, err := d.Readdirnames(-1)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}
