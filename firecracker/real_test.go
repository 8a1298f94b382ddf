package firecracker_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/firecracker/firecrackertest"
)

// realBinary returns the real Firecracker, or skips.
func realBinary(tb testing.TB) string {
	tb.Helper()
	path := os.Getenv("SMARTVM_FIRECRACKER")
	if path == "" {
		path, _ = exec.LookPath("firecracker")
	}
	if path == "" {
		tb.Skip("missing: a Firecracker binary (SMARTVM_FIRECRACKER or PATH)")
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		tb.Skip("missing: /dev/kvm: ", err)
	}
	_ = kvm.Close()
	return path
}

// shortDir returns a directory whose paths fit into a socket address.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "fc") //nolint:usetesting // t.TempDir has the test's name in it, which is too long
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// startReal starts Firecracker, which is killed at the end of the test.
func startReal(tb testing.TB, args ...string) (socket string) {
	tb.Helper()
	path := realBinary(tb)
	socket = filepath.Join(shortDir(tb), "s")
	var out bytes.Buffer
	cmd := exec.Command(path, append([]string{"--api-sock", socket, "--id", "test"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if tb.Failed() {
			tb.Logf("firecracker said:\n%s", out.String())
		}
	})
	waitForSocket(tb, socket)
	return socket
}

func waitForSocket(tb testing.TB, socket string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatal("firecracker never listened: ", err)
		}
	}
}

func startFake(tb testing.TB, opts firecrackertest.Options) (*firecrackertest.Server, string) {
	tb.Helper()
	socket := filepath.Join(shortDir(tb), "s")
	server, err := firecrackertest.Start(tb.Context(), socket, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = server.Close() })
	return server, socket
}

func newClient(tb testing.TB, socket string, opts firecracker.ClientOptions) *firecracker.Client {
	tb.Helper()
	c := firecracker.NewClient(socket, opts)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// host is where a claim about both is tested.
type host struct {
	*testing.T
	socket string
}

// onBoth runs a claim on the fake and on the real Firecracker, so that they can't drift apart.
func onBoth(t *testing.T, claim func(t host)) {
	t.Helper()
	t.Run("fake", func(t *testing.T) {
		_, socket := startFake(t, firecrackertest.Options{ID: "test"})
		claim(host{t, socket})
	})
	t.Run("real", func(t *testing.T) { claim(host{t, startReal(t)}) })
}

// guest returns a kernel that boots without a root file system: a few
// instructions that say hello on the serial port and then halt for ever.
func guest(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guest")
	if err := os.WriteFile(path, haltingKernel(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
