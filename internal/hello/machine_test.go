package hello

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait of a test: it is for a machine that is busy, not for one that is fast.
const patience = 30 * time.Second

// needFirecracker returns the binary, or skips the test with the reason why no guest can run.
func needFirecracker(t *testing.T) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("needs an x86_64 machine: the guest is built for no other")
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("needs KVM: %v", err)
	}
	if err := kvm.Close(); err != nil {
		t.Fatal(err)
	}
	name := os.Getenv("SMARTVM_FIRECRACKER")
	if name == "" {
		name = "firecracker"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs Firecracker, in PATH or named by SMARTVM_FIRECRACKER: %v", err)
	}
	return path
}

// shape is the size of a machine.
type shape struct{ vcpus, memMiB int }

func (s shape) String() string { return fmt.Sprintf("%dvcpu-%dMiB", s.vcpus, s.memMiB) }

// machine is a Firecracker process. Its console is read by the test itself, so that there is nothing to wait for but the test.
type machine struct {
	cmd     *exec.Cmd
	dir     string
	console *os.File // what the guest prints
	keys    *os.File // what it is told
	seen    bytes.Buffer
	ended   bool
	api     *http.Client
}

// boot starts a machine with the hello guest and args as its whole command line.
func boot(t *testing.T, s shape, args ...string) *machine {
	t.Helper()
	firecracker := needFirecracker(t)
	dir := shortDir(t)
	kernel := filepath.Join(dir, "hello.elf")
	config, err := json.Marshal(map[string]any{
		"boot-source":    map[string]any{"kernel_image_path": kernel, "boot_args": strings.Join(args, " ")},
		"machine-config": map[string]any{"vcpu_count": s.vcpus, "mem_size_mib": s.memMiB},
		"drives":         []any{},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, kernel, Image())
	write(t, filepath.Join(dir, "vm.json"), config)
	return spawn(t, firecracker, dir, "--config-file", filepath.Join(dir, "vm.json"))
}

// restore starts a machine from the snapshot in dir.
func restore(t *testing.T, dir string) *machine {
	t.Helper()
	m := spawn(t, needFirecracker(t), shortDir(t))
	m.put(t, http.MethodPut, "/snapshot/load", map[string]any{
		"snapshot_path": filepath.Join(dir, "state"),
		"mem_backend":   map[string]any{"backend_type": "File", "backend_path": filepath.Join(dir, "mem")},
		"resume_vm":     true,
	})
	return m
}

func spawn(t *testing.T, firecracker, dir string, args ...string) *machine {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	log, socket := filepath.Join(dir, "log"), filepath.Join(dir, "api")
	write(t, log, nil) // versions before 1.14 do not make it
	m := &machine{dir: dir, api: client(socket)}
	m.cmd = exec.CommandContext(ctx, firecracker, append([]string{"--api-sock", socket, "--log-path", log}, args...)...)
	stdin, stdout := pipes(t, m)
	m.cmd.Stdin, m.cmd.Stdout = stdin, stdout
	err := m.cmd.Start()
	if err := errors.Join(stdin.Close(), stdout.Close()); err != nil {
		t.Error(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !m.ended {
			_ = m.cmd.Process.Kill()
			_ = m.cmd.Wait()
		}
	})
	return m
}

// pipes makes the machine's console and returns Firecracker's ends of it.
func pipes(t *testing.T, m *machine) (stdin, stdout *os.File) {
	t.Helper()
	var err error
	if stdin, m.keys, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	if m.console, stdout, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(m.keys.Close(), m.console.Close()); err != nil {
			t.Error(err)
		}
	})
	return stdin, stdout
}

// client speaks to a Firecracker that may not have opened its socket yet.
func client(socket string) *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		retry := time.NewTicker(time.Millisecond)
		defer retry.Stop()
		for {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
			if err == nil {
				return conn, nil
			}
			select {
			case <-ctx.Done():
				return nil, err
			case <-retry.C:
			}
		}
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: patience}
}

// put sends a request that must succeed.
func (m *machine) put(t *testing.T, method, path string, body any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := m.api.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		fault, err := io.ReadAll(answer.Body)
		t.Fatalf("%s %s %s: %s %s (%v)", method, path, text, answer.Status, fault, err)
	}
}

func (m *machine) ctrlAltDel(t *testing.T) {
	t.Helper()
	m.put(t, http.MethodPut, "/actions", map[string]any{"action_type": "SendCtrlAltDel"})
}

func (m *machine) setState(t *testing.T, state string) {
	t.Helper()
	m.put(t, http.MethodPatch, "/vm", map[string]any{"state": state})
}

// read appends what the console brings within d, at most one read, and says whether anything came.
func (m *machine) read(t *testing.T, d time.Duration) (came, open bool) {
	t.Helper()
	if err := m.console.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 64<<10)
	n, err := m.console.Read(chunk)
	m.seen.Write(chunk[:n])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return n > 0, !errors.Is(err, io.EOF)
}

// await reads until text was printed and forgets the console up to its end.
func (m *machine) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		if _, after, found := bytes.Cut(m.seen.Bytes(), []byte(text)); found {
			rest := bytes.Clone(after)
			m.seen.Reset()
			m.seen.Write(rest)
			return
		}
		if _, open := m.read(t, time.Until(end)); !open || time.Now().After(end) {
			t.Fatalf("no %q on the console, but %q", text, m.seen.String())
		}
	}
}

// end reads to the end of the console, waits for the process and returns the last words.
func (m *machine) end(t *testing.T) string {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		_, open := m.read(t, time.Until(end))
		if !open {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the machine did not end; console %q", m.seen.String())
		}
	}
	_ = m.cmd.Wait() // a triple fault is an error from Firecracker 1.15 on
	m.ended = true
	return m.seen.String()
}

// cpu returns the processor time that Firecracker and its guest have used.
func (m *machine) cpu(t *testing.T) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}

// shortDir is a temporary directory whose path leaves room for a socket: t.TempDir holds the name of the test.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hello") //nolint:usetesting // its paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
