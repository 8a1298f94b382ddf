package fetch_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

func TestStalledServerIsGivenUpAndTheDownloadResumed(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fetchtest.Fault{
		"before the header":  {StallHeader: true},
		"before the content": {Stall: true},
		"in the middle":      {Stall: true, StallAfter: 600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			data, src := s.put(size)
			s.options.StallTimeout = 250 * time.Millisecond
			fault.Times = 1
			s.site.Misbehave("/file", fault)
			s.mustFile(src, data)
			if !strings.Contains(s.log.String(), "sent nothing any more") {
				t.Errorf("logged %s", s.log)
			}
			want := ""
			if fault.StallAfter > 0 {
				want = "bytes=600-"
			}
			if ranges := s.ranges(); ranges[1] != want {
				t.Errorf("asked for %q", ranges)
			}
		})
	}
}

func TestServerThatAlwaysStallsFailsTheDownload(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, src := s.put(size)
	s.options.StallTimeout, s.options.Attempts = 20*time.Millisecond, 2
	s.site.Misbehave("/file", fetchtest.Fault{StallHeader: true})
	if e := s.wantError(src, errcode.DownloadFailed); !strings.Contains(e.Error(), "sent nothing any more") {
		t.Errorf("got %v", e)
	}
	s.wantNames("")
	_, err := fetch.New(s.options).Bytes(t.Context(), src.URL, size)
	wantCode(t, err, errcode.DownloadFailed)
	_, err = fetch.New(s.options).Location(t.Context(), src.URL)
	wantCode(t, err, errcode.DownloadFailed)
}

// slowServer takes its time for each byte, in the clock of the test's bubble.
type slowServer struct {
	data []byte
	pace time.Duration
}

func (s slowServer) RoundTrip(*http.Request) (*http.Response, error) {
	time.Sleep(s.pace)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: int64(len(s.data)), Body: io.NopCloser(&slowReader{s}),
	}, nil
}

type slowReader struct{ slowServer }

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	time.Sleep(r.pace)
	p[0] = r.data[0]
	r.data = r.data[1:]
	return 1, nil
}

func TestSlowServerIsNoStalledOne(t *testing.T) {
	t.Parallel()
	dir := openRoot(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		data := randomBytes(100)
		f := fetch.New(fetch.Options{Transport: slowServer{data, 29 * time.Second}, Attempts: 1})
		start := time.Now()
		if _, err := f.File(t.Context(), source("http://slow/file", data), dir, "name"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 101*29*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
