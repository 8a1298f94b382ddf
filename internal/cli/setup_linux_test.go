package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/nettest"
)

// testUser is a user that no host has.
const testUser = 1_777_000_001

// TestScriptsOnPools runs the scripts of testdata/pool on a host of its own, on which
// only root may open /dev/kvm and /dev/net/tun.
func TestScriptsOnPools(t *testing.T) {
	firecracker := hosttest.Boot(t)
	nettest.Isolated(t, func(t *testing.T) {
		host := nettest.Host(t)
		host.Uplink(t, "up0", "192.0.2.2/24")
		before := host.Snapshot(t)
		t.Cleanup(func() { host.Same(t, before) })
		shared, err := os.MkdirTemp("/dev/shm", "svcli") //nolint:usetesting // a short name
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(shared) })
		furnishUser(t, shared, firecracker)
		t.Setenv("USER_HOME", shared)
		runScripts(t, "testdata/pool", firecracker)
	})
}

// furnishUser gives a user what he runs, and takes the devices from all users.
func furnishUser(t *testing.T, dir, firecracker string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(dir, 0o755))
	for path, minor := range map[string]uint32{"/dev/kvm": 232, "/dev/net/tun": 200} {
		node := filepath.Join(t.TempDir(), "node") // where devices work
		must(unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(10, minor))))
		must(unix.Mount(node, path, "", unix.MS_BIND, ""))
		t.Cleanup(func() { must(unix.Unmount(path, unix.MNT_DETACH)) })
	}
	for path, name := range map[string]string{"/proc/self/exe": "smartvm", firecracker: "firecracker"} {
		data, err := os.ReadFile(path)
		must(err)
		must(os.WriteFile(filepath.Join(dir, name), data, 0o700))
		must(os.Chmod(filepath.Join(dir, name), 0o755))
	}
	for _, name := range []string{"d", "r"} {
		must(os.Mkdir(filepath.Join(dir, name), 0o700))
		must(os.Chown(filepath.Join(dir, name), testUser, testUser))
	}
}

// asUser runs the command smartvm as a user without any right:
//
//	asuser ARG...
func asUser(ts *testscript.TestScript, neg bool, args []string) {
	home := os.Getenv("USER_HOME")
	cmd := exec.CommandContext(context.Background(), filepath.Join(home, "smartvm"), args...)
	cmd.Dir = "/"
	cmd.Env = []string{
		"SMARTVM_DATA_DIR=" + filepath.Join(home, "d"), "SMARTVM_RUNTIME_DIR=" + filepath.Join(home, "r"),
		"SMARTVM_FIRECRACKER=" + filepath.Join(home, "firecracker"), envPoolDir + "=" + ts.Getenv(envPoolDir), "GORACE=atexit_sleep_ms=0",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: testUser, Gid: testUser}}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	ts.Logf("[as user %s: %s]\n%s%s", strconv.Itoa(testUser), strings.Join(args, " "), stdout.String(), stderr.String())
	ts.Check(os.WriteFile(ts.MkAbs("out"), stdout.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), stderr.Bytes(), 0o600))
	if failed := err != nil; failed != neg {
		ts.Fatalf("it ended with %v", err)
	}
}

func TestUnitQuotesForSystemd(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"plain": "plain", "": `""`, "a b": `"a b"`, "100%": "100%%", "$HOME": "$$HOME", `a"b`: `"a\"b"`, "*:80,443": "*:80,443", "a;b": `"a;b"`,
	} {
		if got := unitWord(word); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}
