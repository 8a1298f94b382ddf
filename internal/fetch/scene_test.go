package fetch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

// quick are options for servers that answer at once.
var quick = fetch.Options{Backoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond}

// scene is a site, a directory, and what a download tells.
type scene struct {
	*testing.T
	site    *fetchtest.Site
	dir     *os.Root
	options fetch.Options
	told    *told
	log     *syncBuffer
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, site: fetchtest.New(t), dir: openRoot(t, t.TempDir()), told: new(told), log: new(syncBuffer), options: quick}
	s.options.Transport = s.site.Transport()
	s.options.Progress = s.told
	s.options.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	return s
}

func openRoot(tb testing.TB, path string) *os.Root {
	tb.Helper()
	root, err := os.OpenRoot(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = root.Close() })
	return root
}

// put makes /file of size random bytes, and returns them with their source.
func (s *scene) put(size int) ([]byte, fetch.Source) {
	data := randomBytes(size)
	s.site.Put("/file", data)
	return data, source(s.site.URL("/file"), data)
}

// randomBytes has no two equal parts, so that a splice at the wrong place shows.
func randomBytes(size int) []byte {
	data := make([]byte, size)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(data)
	return data
}

func source(url string, data []byte) fetch.Source {
	return fetch.Source{URL: url, SHA256: hashOf(data), Size: int64(len(data))}
}

func hashOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

// unknown is the source with neither hash nor size.
func unknown(src fetch.Source) fetch.Source { return fetch.Source{URL: src.URL} }

func (s *scene) file(src fetch.Source) (fetch.Result, error) {
	return s.fileCtx(s.Context(), src)
}

func (s *scene) fileCtx(ctx context.Context, src fetch.Source) (fetch.Result, error) {
	return fetch.New(s.options).File(ctx, src, s.dir, "name")
}

// mustFile downloads and checks that there is nothing but the whole file.
func (s *scene) mustFile(src fetch.Source, want []byte) fetch.Result {
	s.Helper()
	result, err := s.file(src)
	if err != nil {
		s.Fatal(err)
	}
	if result.SHA256 != hashOf(want) || result.Size != int64(len(want)) {
		s.Errorf("result is %+v, want %d bytes, %s", result, len(want), hashOf(want))
	}
	s.wantContent(want)
	s.wantNames("name")
	return result
}

func (s *scene) wantContent(want []byte) {
	s.Helper()
	got, err := s.dir.ReadFile("name")
	if err != nil || !bytes.Equal(got, want) {
		s.Errorf("the file has %d bytes, %v; want %d certain ones", len(got), err, len(want))
	}
}

// wantNames says what the directory has, separated by spaces.
func (s *scene) wantNames(want string) {
	s.Helper()
	entries, err := os.ReadDir(s.dir.Name())
	if err != nil {
		s.Fatal(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	if got := strings.Join(names, " "); got != want {
		s.Errorf("the directory has %q, want %q", got, want)
	}
}

// wantError expects a failure with the code, and returns it.
func (s *scene) wantError(src fetch.Source, code errcode.Code) *errcode.Error {
	s.Helper()
	_, err := s.file(src)
	return wantCode(s.T, err, code)
}

func wantCode(t *testing.T, err error, code errcode.Code) *errcode.Error {
	t.Helper()
	e, ok := errors.AsType[*errcode.Error](err)
	if !ok || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	return e
}

// ranges are the Range headers of the requests to /file, "" for those without.
func (s *scene) ranges() []string {
	headers := s.site.Headers("/file")
	ranges := make([]string, len(headers))
	for i, h := range headers {
		ranges[i] = h.Get("Range")
		if (h.Get("Range") == "") != (h.Get("If-Range") == "") {
			s.Errorf("Range %q goes with If-Range %q", h.Get("Range"), h.Get("If-Range"))
		}
	}
	return ranges
}

// child starts a process that downloads src under the same name. It returns the
// log of it.
func (s *scene) child(src fetch.Source, env ...string) (*exec.Cmd, *syncBuffer) {
	s.Helper()
	text, err := json.Marshal(job{src.URL, src.SHA256, src.Size, s.dir.Name(), "name"})
	if err != nil {
		s.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	log := new(syncBuffer)
	cmd.Env = append(append(os.Environ(), childVar+"="+string(text)), env...)
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), log
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd, log
}

// until polls for what takes a moment.
func (s *scene) until(what string, is func() bool) {
	s.Helper()
	deadline := time.Now().Add(time.Minute)
	for ticker := time.NewTicker(2 * time.Millisecond); !is(); <-ticker.C {
		if time.Now().After(deadline) {
			s.Fatal("never: ", what)
		}
	}
}

// partSize is how much of the file is there, -1 when there is no part.
func (s *scene) partSize() int64 {
	info, err := os.Lstat(filepath.Join(s.dir.Name(), ".name.part"))
	if err != nil {
		return -1
	}
	return info.Size()
}

// told records what a Progress is told.
type told struct {
	mu    sync.Mutex
	names []string
	sets  [][2]int64
	ends  []error
}

func (p *told) Begin(name string, total int64) fetch.Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names = append(p.names, fmt.Sprint(name, " ", total))
	return p
}

func (p *told) Set(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sets = append(p.sets, [2]int64{done, total})
}

func (p *told) End(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends = append(p.ends, err)
}

// syncBuffer is a log that may be written and read at once.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
