package fetch_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
)

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

func writeFile(tb testing.TB, data []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "a file%41?#")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func fileURL(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }

func TestFileURLIsCopiedAndVerified(t *testing.T) {
	t.Parallel()
	data := randomBytes(3<<20 + 5)
	path := writeFile(t, data)
	link := filepath.Join(t.TempDir(), "link")
	info, err := os.Stat(path)
	if err := errors.Join(err, os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{path, link} {
		for _, known := range []bool{true, false} {
			s := newScene(t)
			src := source(fileURL(from), data)
			if !known {
				src = unknown(src)
			}
			result := s.mustFile(src, data)
			if result.URL != src.URL || result.LastModified != info.ModTime().UTC().Format(http.TimeFormat) {
				t.Errorf("result is %+v", result)
			}
			if last := s.told.sets[len(s.told.sets)-1]; last != [2]int64{int64(len(data)), int64(len(data))} {
				t.Errorf("told %v last", last)
			}
		}
	}
}

func TestFileURLThatIsNotWhatItShouldBeLeavesNothing(t *testing.T) {
	t.Parallel()
	data := randomBytes(100 << 10)
	path := writeFile(t, data)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := mkfifo(fifo); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		src  fetch.Source
		is   error
		text string
	}{
		"missing":    {fetch.Source{URL: fileURL(path + "-missing")}, fs.ErrNotExist, ""},
		"directory":  {fetch.Source{URL: fileURL(filepath.Dir(path))}, nil, "not a regular file"},
		"fifo":       {fetch.Source{URL: fileURL(fifo)}, nil, "not a regular file"},
		"device":     {fetch.Source{URL: "file:///dev/zero"}, nil, "not a regular file"},
		"wrong hash": {fetch.Source{URL: fileURL(path), SHA256: hashOf(nil)}, nil, "want " + hashOf(nil)},
		"wrong size": {fetch.Source{URL: fileURL(path), Size: 99 << 10}, nil, "want 101376 bytes"},
		"too large":  {fetch.Source{URL: fileURL(path), MaxSize: 99 << 10}, nil, "limit of 101376 bytes"},
		"endless":    {fetch.Source{URL: "file:///proc/self/status", MaxSize: 10}, nil, "limit of 10 bytes"}, // its size is 0
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			e := s.wantError(tt.src, errcode.DownloadFailed)
			if tt.is != nil && !errors.Is(e, tt.is) || !strings.Contains(e.Error(), tt.text) || e.Subject != tt.src.URL {
				t.Errorf("got %v", e)
			}
			s.wantNames("")
		})
	}
}

func TestCopyOfAFileURLIsCancelledBetweenPieces(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data := randomBytes(4 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	s.options.Progress = cancelling{s.told, cancel}
	_, err := s.fileCtx(ctx, source(fileURL(writeFile(t, data)), data))
	wantCode(t, err, errcode.Cancelled)
	s.wantNames("")
	if n := len(s.told.sets); n != 2 {
		t.Errorf("went on for %d pieces", n)
	}
}

// cancelling ends the context at the first piece.
type cancelling struct {
	*told
	cancel func()
}

func (c cancelling) Begin(string, int64) fetch.Task { return c }

func (c cancelling) Set(done, total int64) {
	c.told.Set(done, total)
	if done > 0 {
		c.cancel()
	}
}

func TestFileThatChangesWhileItIsCopiedIsRefused(t *testing.T) {
	t.Parallel()
	data := randomBytes(4 << 20)
	for name, change := range map[string]func(path string) error{
		"shorter": func(path string) error { return os.Truncate(path, 1<<20) },
		"longer":  func(path string) error { return os.WriteFile(path, append(data, 'x'), 0o600) },
		"later":   func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(1e9, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			path := writeFile(t, data)
			s.options.Progress = cancelling{s.told, sync.OnceFunc(func() {
				if err := change(path); err != nil {
					t.Error(err)
				}
			})}
			e := s.wantError(fetch.Source{URL: fileURL(path)}, errcode.DownloadFailed)
			if !strings.Contains(e.Error(), "changed while it was copied") {
				t.Errorf("got %v", e)
			}
			s.wantNames("")
		})
	}
}
