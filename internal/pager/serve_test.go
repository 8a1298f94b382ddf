package pager_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/internal/pager"
	"github.com/smartvm/smartvm/internal/proc"
)

const (
	small = 4 << 10
	huge  = 2 << 20
)

// memoryFile makes a snapshot whose nth page, from 0, begins with the number n+1.
func memoryFile(tb testing.TB, pageSize, pages int) snapshot {
	tb.Helper()
	dir := shortDir(tb)
	s := snapshot{dir: dir, memory: filepath.Join(dir, "memory")}
	content := bytes.Repeat([]byte{0xaa}, pageSize*pages)
	for i := range pages {
		binary.NativeEndian.PutUint64(content[i*pageSize:], uint64(i+1))
	}
	must(tb, os.WriteFile(s.memory, content, 0o600))
	return s
}

// stage is a server with an actor that it serves.
func (s snapshot) stage(tb testing.TB, workingSet string, pageSize int, regions ...int) (*vmm, *server) {
	tb.Helper()
	hosttest.Need(tb, hosttest.Root)
	v := s.serve(tb, shortDir(tb), workingSet)
	m := newVMM(tb, v.socket, pageSize, regions...)
	m.want(tb, "ok", "hello")
	return m, v
}

// wantSuccess waits for a server whose client has ended.
func (v *server) wantSuccess(tb testing.TB) {
	tb.Helper()
	if status := wait(tb, v.process, "the server"); !status.Success() {
		tb.Errorf("the server ended with %s", status)
	}
}

// wantFailure waits for a server that must end with an error, and with its client.
func (v *server) wantFailure(tb testing.TB, m *vmm, reason string) {
	tb.Helper()
	if status := wait(tb, m.process, "the client"); status.Signal != int(unix.SIGKILL) {
		tb.Errorf("the client ended with %s", status)
	}
	if status := wait(tb, v.process, "the server"); status.Success() {
		tb.Errorf("the server ended with %s", status)
	}
	if said := v.said(tb); !strings.Contains(said, reason) {
		tb.Errorf("the server said %q, which lacks %q", said, reason)
	}
}

func TestPagesHaveTheContentOfTheirPlaceInTheFile(t *testing.T) {
	t.Parallel()
	m, v := memoryFile(t, small, 300).stage(t, "", small, 100, 150, 50)
	for _, page := range []int{299, 0, 99, 100, 101, 249, 250, 1} {
		m.want(t, strconv.Itoa(page+1), "read", page)
	}
	m.want(t, "ok", "write", 5, 77)
	m.want(t, "77", "read", 5)
	must(t, m.stdin.Close())
	v.wantSuccess(t)
}

func TestPagesThatWereGivenBackAreZero(t *testing.T) {
	t.Parallel()
	for _, workingSet := range []bool{false, true} {
		s := memoryFile(t, small, 200)
		path := ""
		if workingSet { // so that the pages are there before they are given back
			path = filepath.Join(s.dir, "memory.pages")
			m, v := s.stage(t, path, small, 200)
			_, err := m.order(t, "touch", 200)
			must(t, errors.Join(err, m.stdin.Close()))
			v.wantSuccess(t)
		}
		m, _ := s.stage(t, path, small, 100, 100)
		m.want(t, "2", "read", 1)
		m.want(t, "ok", "remove", 1, 2) // one that is there, and one that has never been
		for range 2 {
			m.want(t, "0", "read", 1)
			m.want(t, "0", "read", 2)
			m.want(t, "1", "read", 0)
			m.want(t, "4", "read", 3)
			m.want(t, "ok", "write", 1, 5)
			m.want(t, "ok", "remove", 1, 1) // what was written is gone, and does not become the file's
		}
		m.want(t, "ok", "remove", 100, 100)
		m.want(t, "0", "read", 199)
		m.want(t, "100", "read", 99)
	}
}

func TestNothingComesBackWhilePagesAreGivenBackAndFetchedAtOnce(t *testing.T) {
	t.Parallel()
	const pages = 16 << 10
	s := memoryFile(t, small, pages)
	path := filepath.Join(s.dir, "memory.pages")
	first, v := s.stage(t, path, small, pages)
	_, err := first.order(t, "touch", pages)
	must(t, errors.Join(err, first.stdin.Close()))
	v.wantSuccess(t)
	for range 2 { // and all is fetched meanwhile, in long rows
		m, v := s.stage(t, path, small, pages)
		m.want(t, "ok", "storm", 20_000)
		t.Log(v.said(t))
		must(t, m.stdin.Close())
		v.wantSuccess(t)
	}
}

func TestHugePagesAreServedAndGivenBack(t *testing.T) { //nolint:paralleltest // it changes the host
	reserve(t, 8)
	s := memoryFile(t, huge, 4)
	path := filepath.Join(s.dir, "memory.pages")
	for range 2 {
		m, v := s.stage(t, path, huge, 2, 2)
		m.want(t, "4", "read", 3)
		m.want(t, "1", "read", 0)
		m.want(t, "ok", "remove", 3, 1)
		m.want(t, "0", "read", 3)
		m.want(t, "ok", "write", 3, 9)
		m.want(t, "ok", "remove", 2, 2)
		m.want(t, "0", "read", 2)
		m.want(t, "0", "read", 3)
		must(t, m.stdin.Close())
		v.wantSuccess(t)
	}
}

// reserve makes the host have so many free huge pages.
func reserve(t *testing.T, pages int) {
	t.Helper()
	hosttest.Need(t, hosttest.Root)
	const file = "/proc/sys/vm/nr_hugepages"
	before, err := os.ReadFile(file)
	must(t, err)
	had, err := strconv.Atoi(strings.TrimSpace(string(before)))
	must(t, err)
	if err := os.WriteFile(file, []byte(strconv.Itoa(had+pages)), 0); err != nil {
		t.Skip("huge pages can't be reserved: ", err)
	}
	t.Cleanup(func() { must(t, os.WriteFile(file, before, 0)) })
	now, err := os.ReadFile(file)
	must(t, err)
	if n, _ := strconv.Atoi(strings.TrimSpace(string(now))); n < had+pages {
		t.Skipf("the kernel has %d huge pages, and does not find room for %d more", n, pages)
	}
}

func TestClientIsKilledWithItsServer(t *testing.T) {
	t.Parallel()
	m, v := memoryFile(t, small, 10).stage(t, "", small, 10)
	m.want(t, "1", "read", 0) // so that the server has got that far
	must(t, v.process.Signal(unix.SIGKILL))
	if status := wait(t, m.process, "the client"); status.Signal != int(unix.SIGKILL) {
		t.Errorf("it ended with %s", status)
	}
}

func TestServerThatIsAskedToEndBeforeItHasAMessageDoesSo(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	prepared, memory := prepare(t)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- pager.Serve(ctx, pager.Options{Listener: prepared.Spec.Stdin, Memory: memory}) }()
	socket := prepared.Spec.Stdin.Name()
	m := newVMM(t, socket, small, 10)
	m.want(t, "ok", "say", "[", 0)
	for patient := patient(t); ; { // until the server has taken the connection
		conn, err := new(net.Dialer).DialContext(patient, "unix", socket)
		if errors.Is(err, unix.ECONNREFUSED) {
			break
		}
		if err == nil {
			err = conn.Close()
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) { // the queue is full
			t.Fatal(err)
		}
		<-time.After(time.Millisecond)
	}
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve: %v", err)
	}
	if status := wait(t, m.process, "the client"); status.Signal != int(unix.SIGKILL) {
		t.Errorf("the client ended with %s", status)
	}
}

// As a jailed one has to be.
func TestClientInTheNamespaceOfItsServerEndsWithItAtAnyTime(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	s := memoryFile(t, small, 10)
	for _, greeted := range []bool{false, true} {
		dir := shortDir(t)
		v := s.launch(t, pager.Launch{Socket: filepath.Join(dir, "pages"), Log: filepath.Join(dir, "log"), Namespace: true})
		m := startVMM(t, proc.Spec{TiedTo: v.process}, v.socket, small, 10)
		if greeted {
			m.want(t, "ok", "hello")
			m.want(t, "10", "read", 9)
		}
		must(t, v.process.Signal(unix.SIGKILL))
		if status := wait(t, m.process, "the client"); status.Signal != int(unix.SIGKILL) {
			t.Errorf("it ended with %s", status)
		}
		wait(t, v.process, "the server")
	}
}

func TestServerInANamespaceEndsWithItsClient(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	dir := shortDir(t)
	v := memoryFile(t, small, 10).launch(t, pager.Launch{Socket: filepath.Join(dir, "pages"), Log: filepath.Join(dir, "log"), Namespace: true})
	m := startVMM(t, proc.Spec{TiedTo: v.process}, v.socket, small, 10)
	m.want(t, "ok", "hello")
	m.want(t, "1", "read", 0)
	must(t, m.process.Signal(unix.SIGKILL))
	v.wantSuccess(t)
}

func TestClientThatTheKernelWouldNotKillIsRefused(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	v := memoryFile(t, small, 10).serve(t, shortDir(t), "")
	m := startVMM(t, proc.Spec{Namespaces: unix.CLONE_NEWPID}, v.socket, small, 10)
	_, _ = m.order(t, "hello")
	v.wantFailure(t, m, "first process of a pid namespace")
}

func TestServerThatIsAskedToEndTakesItsClientAlong(t *testing.T) {
	t.Parallel()
	m, v := memoryFile(t, small, 10).stage(t, "", small, 10)
	m.want(t, "1", "read", 0)
	must(t, v.process.Signal(unix.SIGTERM))
	v.wantFailure(t, m, "terminated")
}

func TestChangedMemoryFileEndsTheClient(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(path string) error{
		"truncated":   func(path string) error { return os.Truncate(path, small) },
		"emptied":     func(path string) error { return os.Truncate(path, 0) },
		"extended":    func(path string) error { return os.Truncate(path, 20*small) },
		"overwritten": func(path string) error { return os.WriteFile(path, make([]byte, 10*small), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memoryFile(t, small, 10)
			m, v := s.stage(t, "", small, 10)
			m.want(t, "1", "read", 0)
			must(t, change(s.memory))
			// It may still have got the page, and be killed a moment later.
			_, _ = m.order(t, "read", 5)
			v.wantFailure(t, m, "memory file was changed")
		})
	}
}

func TestMemoryFileMayBeDeletedWhileItIsServed(t *testing.T) {
	t.Parallel()
	s := memoryFile(t, small, 10)
	m, _ := s.stage(t, "", small, 10)
	m.want(t, "1", "read", 0)
	must(t, os.Remove(s.memory))
	m.want(t, "10", "read", 9)
}

func TestMessagesThatDoNotHoldUpEndTheirSender(t *testing.T) {
	t.Parallel()
	const place = 1 << 40
	good := regions(place, 10*small, 0, small)
	for name, tt := range map[string]struct {
		order  []any
		reason string
	}{
		"no descriptor":       {[]any{"say", good, 0}, "no userfaultfd"},
		"another descriptor":  {[]any{"say", good, 1}, "is no userfaultfd"},
		"many descriptors":    {[]any{"say", good, 3}, "more than one descriptor"},
		"too many":            {[]any{"say", good, 40}, "more than one descriptor"},
		"too long":            {[]any{"uffd", "[" + strings.Repeat("1,", 10_000)}, "longer than"},
		"no array":            {[]any{"uffd", "{}"}, "cannot unmarshal"},
		"another memory":      {[]any{"uffd", regions(place, 9*small, 0, small)}, "the memory file 40960"},
		"nothing of anybody":  {[]any{"uffd", "[]"}, "no regions"},
		"of Firecracker v1.7": {[]any{"uffd", `[{"base_host_virt_addr":4096,"size":40960,"offset":0,"page_size_kib":4096}]`}, "before v1.12"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hosttest.Need(t, hosttest.Root)
			v := memoryFile(t, small, 10).serve(t, shortDir(t), "")
			m := newVMM(t, v.socket, small, 10)
			_, _ = m.order(t, tt.order...)
			v.wantFailure(t, m, tt.reason)
		})
	}
}

// regions is a message with one region.
func regions(base, size, offset, page int) string {
	return `[{"base_host_virt_addr":` + strconv.Itoa(base) + `,"size":` + strconv.Itoa(size) +
		`,"offset":` + strconv.Itoa(offset) + `,"page_size":` + strconv.Itoa(page) + `}]`
}

func TestFaultsOutsideOfTheMemoryEndTheClient(t *testing.T) {
	t.Parallel()
	hosttest.Need(t, hosttest.Root)
	v := memoryFile(t, small, 10).serve(t, shortDir(t), "")
	m := newVMM(t, v.socket, small, 10)
	m.want(t, "ok", "uffd", regions(1<<40, 10*small, 0, small)) // its memory is elsewhere
	_, _ = m.order(t, "read", 0)
	v.wantFailure(t, m, "none of its guest's memory")
}

func TestClientThatHangsUpCannotBeGuardedAndIsKilled(t *testing.T) {
	t.Parallel()
	m, v := memoryFile(t, small, 10).stage(t, "", small, 10)
	_, _ = m.order(t, "hangup")
	v.wantFailure(t, m, "before v1.12")
}

func TestSecondMessageEndsTheClient(t *testing.T) {
	t.Parallel()
	m, v := memoryFile(t, small, 10).stage(t, "", small, 10)
	m.want(t, "1", "read", 0)
	_, _ = m.order(t, "say", "[]", 0)
	v.wantFailure(t, m, "second message")
}

func TestNobodyElseGetsAConnection(t *testing.T) {
	t.Parallel()
	m, v := memoryFile(t, small, 10).stage(t, "", small, 10)
	m.want(t, "1", "read", 0)
	if conn, err := new(net.Dialer).DialContext(t.Context(), "unix", v.socket); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a second connection: %v, %v", conn, err)
	}
	m.want(t, "2", "read", 1)
}

func TestServerThatNobodyCallsEndsByItself(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		patience time.Duration
		ctx      func() context.Context
		want     error
	}{
		"in time":   {time.Millisecond, t.Context, os.ErrDeadlineExceeded},
		"when told": {0, cancelled, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prepared, memory := prepare(t)
			err := pager.Serve(tt.ctx(), pager.Options{Listener: prepared.Spec.Stdin, Memory: memory, Patience: tt.patience})
			if !errors.Is(err, tt.want) {
				t.Errorf("Serve: %v, want %v", err, tt.want)
			}
		})
	}
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// prepare makes what a server inherits.
func prepare(t *testing.T) (*pager.Prepared, *os.File) {
	t.Helper()
	dir := shortDir(t)
	memory, err := os.Open(memoryFile(t, small, 10).memory)
	must(t, err)
	prepared, err := pager.Launch{
		Command: []string{"none"}, Socket: filepath.Join(dir, "pages"), Memory: memory, Log: filepath.Join(dir, "log"),
	}.Prepare()
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(prepared.Close(), memory.Close())) })
	return prepared, memory
}
