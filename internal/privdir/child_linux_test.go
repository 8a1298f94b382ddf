package privdir_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	// The owner of what somebody else has planted, and who runs the tests without root.
	stranger = 12345
	nobody   = 65533

	childEnv = "PRIVDIR_TEST_CHILD"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to plant what belongs to others")
	}
}

// rerun runs the tests that match pattern in a child of this binary.
func rerun(t *testing.T, pattern string, attr *syscall.SysProcAttr) {
	t.Helper()
	needRoot(t)
	// Go builds tests into a directory that only their owner may enter.
	dir, err := os.MkdirTemp("", "privdir") //nolint:usetesting // so is that of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "child.test")
	copyBinary(t, binary)
	cmd := exec.CommandContext(t.Context(), binary, "-test.run="+pattern, "-test.v")
	cmd.Dir, cmd.SysProcAttr = dir, attr
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func copyBinary(t *testing.T, to string) {
	t.Helper()
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// alone continues the test in a mount namespace of its own. It is false in the
// parent, which has nothing more to do.
func alone(t *testing.T) bool {
	t.Helper()
	needRoot(t)
	if os.Getenv(childEnv) == "" {
		rerun(t, "^"+t.Name()+"$", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
		return false
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	return true
}

// mountTmpfs is undone with the namespace.
func mountTmpfs(t *testing.T, flags uintptr, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestRulesHoldWithoutRoot(t *testing.T) {
	rerun(t, ".", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
}
