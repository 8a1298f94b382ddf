package fetch_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

func TestFileArrivesWholeAndPrivate(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 1000, 3<<20 + 17, 20 << 20} {
		s := newScene(t)
		data, src := s.put(size)
		result := s.mustFile(src, data)
		if result.URL != src.URL || result.ETag == "" || result.LastModified == "" {
			t.Errorf("result is %+v", result)
		}
		info, err := s.dir.Lstat("name")
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("it is %v, %v", info.Mode(), err)
		}
		header := s.site.Headers("/file")[0]
		if header.Get("Accept-Encoding") != "identity" || header.Get("User-Agent") != "smartvm" {
			t.Errorf("asked with %v", header)
		}
		if s.log.String() != "" {
			t.Errorf("logged %s", s.log)
		}
	}
}

func TestProgressSeesTheWholeFile(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(2 << 20)
	src.Name = "the kernel"
	s.site.Misbehave("/file", fetchtest.Fault{Cut: true, CutAfter: 1 << 20, Times: 1})
	s.mustFile(src, data)
	if diff := cmp.Diff([]string{"the kernel 2097152"}, s.told.names); diff != "" {
		t.Error(diff)
	}
	last := int64(0)
	for _, set := range s.told.sets {
		if set[0] < last || set[1] != 2<<20 {
			t.Errorf("told %v after %d", set, last)
		}
		last = set[0]
	}
	if last != 2<<20 || len(s.told.ends) != 1 || s.told.ends[0] != nil {
		t.Errorf("told %d bytes and the end %v", last, s.told.ends)
	}
}

func TestFailureEndsTheTask(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, err := s.file(fetch.Source{URL: s.site.URL("/missing")})
	if len(s.told.ends) != 1 || !errors.Is(s.told.ends[0], errcode.DownloadFailed) || !errors.Is(err, s.told.ends[0]) {
		t.Errorf("told %v, returned %v", s.told.ends, err)
	}
}

func TestFileReplacesWhatHadTheName(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.WriteFile(outside, []byte("old"), 0o600), s.dir.WriteFile("name", []byte("older"), 0o644)); err != nil {
		t.Fatal(err)
	}
	data, src := s.put(1000)
	s.mustFile(src, data)
	if err := errors.Join(s.dir.Remove("name"), os.Symlink(outside, filepath.Join(s.dir.Name(), "name"))); err != nil {
		t.Fatal(err)
	}
	s.mustFile(src, data)
	if got, err := os.ReadFile(outside); err != nil || string(got) != "old" {
		t.Errorf("wrote through the link: %q, %v", got, err)
	}
}

func TestWhatIsNoPartFileMakesRoom(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, plant := range map[string]func(path string) error{
		"link":          func(path string) error { return os.Symlink(outside, path) },
		"dangling link": func(path string) error { return os.Symlink("missing", path) },
		"link inside":   func(path string) error { return os.Symlink("victim", path) },
		"directory":     func(path string) error { return os.Mkdir(path, 0o700) },
		"fifo":          mkfifo,
	} {
		for _, name := range []string{".name.part", ".name.part.json"} {
			t.Run(what+name, func(t *testing.T) {
				t.Parallel()
				s := newScene(t)
				victim := filepath.Join(s.dir.Name(), "victim")
				if err := errors.Join(os.WriteFile(victim, []byte("old"), 0o600), plant(filepath.Join(s.dir.Name(), name))); err != nil {
					t.Fatal(err)
				}
				data, src := s.put(1000)
				if _, err := s.file(src); err != nil {
					t.Fatal(err)
				}
				s.wantContent(data)
				s.wantNames("name victim")
				for _, path := range []string{outside, victim} {
					if got, err := os.ReadFile(path); err != nil || string(got) != "old" {
						t.Errorf("wrote through the link: %q, %v", got, err)
					}
				}
			})
		}
	}
}

func TestSourcesThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	tests := map[string]struct {
		src  fetch.Source
		name string
	}{
		"no URL":          {fetch.Source{}, "name"},
		"relative":        {fetch.Source{URL: "/etc/hostname"}, "name"},
		"no host":         {fetch.Source{URL: "http:///file"}, "name"},
		"another scheme":  {fetch.Source{URL: "ftp://host/file"}, "name"},
		"unreadable":      {fetch.Source{URL: "http://user:secret@[::1/file"}, "name"},
		"file host":       {fetch.Source{URL: "file://secret/etc/hostname"}, "name"},
		"relative file":   {fetch.Source{URL: "file:secret"}, "name"},
		"short hash":      {fetch.Source{URL: "http://host/file", SHA256: sum[:62]}, "name"},
		"upper-case hash": {fetch.Source{URL: "http://host/file", SHA256: strings.ToUpper(sum)}, "name"},
		"no hash":         {fetch.Source{URL: "http://host/file", SHA256: strings.Repeat("z", 64)}, "name"},
		"negative size":   {fetch.Source{URL: "http://host/file", Size: -1}, "name"},
		"negative limit":  {fetch.Source{URL: "http://host/file", MaxSize: -1}, "name"},
		"empty name":      {fetch.Source{URL: "http://host/file"}, ""},
		"dot":             {fetch.Source{URL: "http://host/file"}, "."},
		"dots":            {fetch.Source{URL: "http://host/file"}, ".."},
		"separator":       {fetch.Source{URL: "http://host/file"}, "a/b"},
		"climbing":        {fetch.Source{URL: "http://host/file"}, "../b"},
		"trailing slash":  {fetch.Source{URL: "http://host/file"}, "a/"},
		"zero byte":       {fetch.Source{URL: "http://host/file"}, "a\x00"},
		"long name":       {fetch.Source{URL: "http://host/file"}, strings.Repeat("n", 245)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openRoot(t, t.TempDir())
			_, err := fetch.New(quick).File(t.Context(), tt.src, dir, tt.name)
			wantCode(t, err, errcode.InvalidConfig)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a secret: %v", err)
			}
			if entries, err := os.ReadDir(dir.Name()); err != nil || len(entries) > 0 {
				t.Errorf("left %v, %v", entries, err)
			}
		})
	}
}

func TestLongestNameWorks(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, src := s.put(1000)
	name := strings.Repeat("n", 244)
	if _, err := fetch.New(s.options).File(t.Context(), src, s.dir, name); err != nil {
		t.Fatal(err)
	}
	s.wantNames(name)
}

func TestSourceLargerThanTheLimitIsRefusedWithoutARequest(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, src := s.put(1000)
	src.MaxSize = 999
	s.wantError(src, errcode.DownloadFailed)
	s.wantNames("")
	if n := s.site.Requests("/file"); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestOfflineRefusesTheNetworkAndNotFiles(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(1000)
	s.options.Offline = true
	e := s.wantError(src, errcode.DownloadFailed)
	if e.Subject != src.URL || !strings.Contains(e.Error(), "--offline") {
		t.Errorf("got %v", e)
	}
	_, err := fetch.New(s.options).Bytes(t.Context(), src.URL, 1000)
	wantCode(t, err, errcode.DownloadFailed)
	_, err = fetch.New(s.options).Location(t.Context(), src.URL)
	wantCode(t, err, errcode.DownloadFailed)
	if n := s.site.Requests("/file"); n != 0 {
		t.Errorf("%d requests", n)
	}
	src.URL = fileURL(writeFile(t, data))
	s.mustFile(src, data)
}

func TestCancelledContextIsCancelledWithItsCause(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(100 << 10)
	cause := errors.New("the user changed their mind")
	for name, fault := range map[string]fetchtest.Fault{
		"header":  {StallHeader: true, Times: 1},
		"content": {Stall: true, StallAfter: 50 << 10, Times: 1},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		s.site.Misbehave("/file", fault)
		before := s.site.Requests("/file")
		result := make(chan error)
		go func() {
			_, err := s.fileCtx(ctx, src)
			result <- err
		}()
		s.until("asked for", func() bool { return s.site.Requests("/file") > before && (!fault.Stall || s.partSize() == 50<<10) })
		cancel(cause)
		e := wantCode(t, <-result, errcode.Cancelled)
		if !errors.Is(e, cause) || e.Subject != src.URL {
			t.Errorf("%s: %v", name, e)
		}
	}
	s.mustFile(src, data)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.fileCtx(ctx, src)
	if wantCode(t, err, errcode.Cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
