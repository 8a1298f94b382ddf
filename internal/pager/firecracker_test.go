package pager_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/pager"
	"github.com/smartvm/smartvm/internal/proc"
)

// patience bounds every wait of a test: it is for a machine that is busy.
const patience = 30 * time.Second

func patient(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// shortDir is a private directory whose path leaves room for a socket.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "pager") //nolint:usetesting // its paths are too long for a socket
	must(tb, err)
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// machine is a Firecracker with its console.
type machine struct {
	process *proc.Process
	client  *firecracker.Client
	console *os.File
	seen    bytes.Buffer
}

// boot starts the hello guest.
func boot(tb testing.TB, memory int, words ...string) *machine {
	tb.Helper()
	dir := shortDir(tb)
	kernel, config := filepath.Join(dir, "kernel"), filepath.Join(dir, "config.json")
	must(tb, os.WriteFile(kernel, hello.Image(), 0o600))
	must(tb, os.WriteFile(config, []byte(`{"boot-source":{"kernel_image_path":"`+kernel+`","boot_args":"`+strings.Join(words, " ")+
		`"},"machine-config":{"vcpu_count":1,"mem_size_mib":`+strconv.Itoa(memory)+`},"drives":[]}`), 0o600))
	return spawn(tb, dir, "--config-file", config)
}

func spawn(tb testing.TB, dir string, more ...string) *machine {
	tb.Helper()
	binary := hosttest.Boot(tb)
	r, w, err := os.Pipe()
	must(tb, err)
	null, err := os.Open(os.DevNull)
	must(tb, err)
	socket, log := filepath.Join(dir, "api"), filepath.Join(dir, "log") // or it would write into the console
	must(tb, os.WriteFile(log, nil, 0o600))
	m := &machine{console: r}
	m.process, err = proc.Start(proc.Spec{
		Path: binary, Args: append([]string{"--api-sock", socket, "--log-path", log}, more...), Dir: dir, Stdin: null, Stdout: w, Stderr: w,
	})
	must(tb, errors.Join(err, w.Close(), null.Close()))
	m.client = firecracker.NewClient(socket, firecracker.ClientOptions{})
	tb.Cleanup(func() {
		if err := errors.Join(m.process.Kill(context.Background()), m.client.Close(), r.Close()); err != nil {
			tb.Error(err)
		}
	})
	for ctx := patient(tb); m.client.Connect(ctx) != nil; {
		select {
		case <-ctx.Done():
			tb.Fatal("firecracker does not answer")
		case <-m.process.Done():
			tb.Fatalf("firecracker ended with %s", m.process.Status())
		case <-time.After(time.Millisecond):
		}
	}
	return m
}

// await reads the console until there is a whole line that begins with prefix, and returns
// the rest of the line.
func (m *machine) await(tb testing.TB, prefix string) string {
	tb.Helper()
	must(tb, m.console.SetReadDeadline(time.Now().Add(patience)))
	for {
		for {
			line, err := m.seen.ReadString('\n')
			if err != nil {
				m.seen.WriteString(line)
				break
			}
			if text, found := strings.CutPrefix(line, prefix); found {
				return strings.TrimSpace(text)
			}
		}
		chunk := make([]byte, 4096)
		n, err := m.console.Read(chunk)
		m.seen.Write(chunk[:n])
		if err != nil {
			tb.Fatalf("no line %q: %v; the console ends with %q", prefix, err, m.seen.String())
		}
	}
}

func (m *machine) count(tb testing.TB) int {
	tb.Helper()
	n, err := strconv.Atoi(m.await(tb, hello.CountPrefix))
	must(tb, err)
	return n
}

// snapshot is a snapshot in a directory.
type snapshot struct{ dir, state, memory string }

// freeze takes a snapshot of m and ends it.
func (m *machine) freeze(tb testing.TB) snapshot {
	tb.Helper()
	dir := shortDir(tb)
	s := snapshot{dir, filepath.Join(dir, "state"), filepath.Join(dir, "memory")}
	must(tb, m.client.Pause(patient(tb)))
	must(tb, m.client.CreateSnapshot(patient(tb), firecracker.SnapshotCreateParams{SnapshotPath: s.state, MemFilePath: s.memory}))
	must(tb, m.process.Kill(patient(tb)))
	return s
}

// server is a page server in a process of its own.
type server struct {
	process *proc.Process
	socket  string
	log     string
}

func (s snapshot) serve(tb testing.TB, dir, workingSet string) *server {
	tb.Helper()
	return s.launch(tb, pager.Launch{Socket: filepath.Join(dir, "pages"), WorkingSet: workingSet, Log: filepath.Join(dir, "pages.log")})
}

// launch starts a server as l says, once it has been told what and the program.
func (s snapshot) launch(tb testing.TB, l pager.Launch) *server {
	tb.Helper()
	memory, err := os.Open(s.memory)
	must(tb, err)
	defer memory.Close()
	l.Command, l.Memory = []string{"/proc/self/exe", serverProgram}, memory
	v := &server{socket: l.Socket, log: l.Log}
	prepared, err := l.Prepare()
	must(tb, err)
	v.process, err = proc.Start(prepared.Spec)
	must(tb, errors.Join(err, prepared.Close()))
	tb.Cleanup(func() {
		if err := v.process.Kill(context.Background()); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Logf("the server said:\n%s", v.said(tb))
		}
	})
	return v
}

func (v *server) said(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile(v.log)
	must(tb, err)
	return string(text)
}

// load restores a snapshot with a page server.
func (s snapshot) load(tb testing.TB, workingSet string) (*machine, *server) {
	tb.Helper()
	dir := shortDir(tb)
	v := s.serve(tb, dir, workingSet)
	m := spawn(tb, dir)
	must(tb, m.client.LoadSnapshot(patient(tb), s.params("Uffd", v.socket)))
	return m, v
}

func (s snapshot) params(kind, path string) firecracker.SnapshotLoadParams {
	return firecracker.SnapshotLoadParams{
		SnapshotPath: s.state, MemBackend: &firecracker.MemoryBackend{BackendType: kind, BackendPath: path}, ResumeVM: true,
	}
}

func wait(tb testing.TB, p *proc.Process, what string) proc.Status {
	tb.Helper()
	select {
	case <-p.Done():
		return p.Status()
	case <-time.After(patience):
		tb.Fatalf("%s does not end", what)
		return proc.Status{}
	}
}

func TestRestoredGuestGoesOnWhereItWas(t *testing.T) {
	hosttest.Boot(t)
	hosttest.Residue(t)
	first := boot(t, 128, hello.CountEach(5*time.Millisecond))
	for first.count(t) < 5 {
	}
	snap := first.freeze(t)
	for _, again := range []bool{false, true} { // the second fetches what the first has needed
		m, v := snap.load(t, filepath.Join(snap.dir, "memory.pages"))
		n := m.count(t)
		if n <= 5 || m.count(t) != n+1 {
			t.Errorf("the restored guest counts from %d on", n)
		}
		must(t, m.process.Kill(patient(t)))
		if status := wait(t, v.process, "the server"); !status.Success() {
			t.Errorf("the server ended with %s", status)
		}
		wants := "known=0" // a working set is written
		if again {
			wants = "prefetched=" // and read
		}
		if strings.Contains(v.said(t), "prefetched=0") == again {
			t.Errorf("fetched before it was asked for: %t", !again)
		}
		if said := v.said(t); !strings.Contains(said, wants) {
			t.Errorf("the server said %q, which lacks %q", said, wants)
		}
	}
}

func TestFirecrackerEndsWithItsServer(t *testing.T) {
	t.Parallel()
	first := boot(t, 128, hello.CountEach(5*time.Millisecond))
	first.count(t)
	snap := first.freeze(t)
	m, v := snap.load(t, "")
	m.count(t)
	must(t, v.process.Signal(unix.SIGKILL))
	if status := wait(t, m.process, "firecracker"); status.Signal != int(unix.SIGKILL) {
		t.Errorf("firecracker ended with %s", status)
	}
}
