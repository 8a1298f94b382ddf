package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

func TestRefusalsThatStayAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, status := range []int{204, 206, 300, 304, 400, 401, 403, 404, 407, 410, 416, 451} {
		s := newScene(t)
		_, src := s.put(size)
		s.site.Misbehave("/file", fetchtest.Fault{Status: status})
		e := s.wantError(src, errcode.DownloadFailed)
		if e.StatusCode != status || e.Subject != src.URL || !strings.Contains(e.Error(), fmt.Sprint("answered ", status)) {
			t.Errorf("%d: %v", status, e)
		}
		s.wantNames("")
		if n := s.site.Requests("/file"); n != 1 {
			t.Errorf("%d: %d requests", status, n)
		}
	}
}

func TestRefusalsThatPassAreTriedAgain(t *testing.T) {
	t.Parallel()
	for _, status := range []int{408, 425, 429, 500, 502, 503, 504} {
		s := newScene(t)
		data, src := s.put(size)
		s.site.Misbehave("/file", fetchtest.Fault{Status: status, Times: 4})
		s.mustFile(src, data)
		if n := s.site.Requests("/file"); n != 5 {
			t.Errorf("%d: %d requests", status, n)
		}
		if n := strings.Count(s.log.String(), "trying again"); n != 4 {
			t.Errorf("%d: logged %s", status, s.log)
		}
	}
}

func TestDownloadFailsWhenAllAttemptsHave(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, src := s.put(size)
	s.site.Misbehave("/file", fetchtest.Fault{Status: 503})
	if e := s.wantError(src, errcode.DownloadFailed); e.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %v", e)
	}
	s.wantNames("")
	if n := s.site.Requests("/file"); n != 5 {
		t.Errorf("%d requests", n)
	}
}

func TestServerThatIsNotThereFailsTheDownload(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	e := s.wantError(fetch.Source{URL: gone.URL + "/file"}, errcode.DownloadFailed)
	if e.StatusCode != 0 || !strings.Contains(e.Error(), "connection refused") {
		t.Errorf("got %v", e)
	}
	s.wantNames("")
}

func TestRetryAfterBeyondTheBoundEndsTheDownload(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"seconds": "3600", "date": time.Now().Add(time.Hour).UTC().Format(http.TimeFormat),
	} {
		s := newScene(t)
		_, src := s.put(size)
		s.site.Misbehave("/file", fetchtest.Fault{Status: 429, RetryAfter: value})
		e := s.wantError(src, errcode.DownloadFailed)
		if e.StatusCode != http.StatusTooManyRequests || !strings.Contains(e.Hint, "try again in ") {
			t.Errorf("%s: %v", name, e)
		}
		if n := s.site.Requests("/file"); n != 1 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, src := s.put(size)
	s.options.Backoff, s.options.MaxBackoff = time.Hour, time.Hour
	s.site.Misbehave("/file", fetchtest.Fault{Status: 503})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error)
	go func() {
		_, err := s.fileCtx(ctx, src)
		result <- err
	}()
	s.until("waiting", func() bool { return strings.Contains(s.log.String(), "trying again") })
	cancel()
	if err := <-result; !errors.Is(err, errcode.Cancelled) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestProgressForgivesEarlierFailures(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	s.options.Attempts = 2
	// More cuts than attempts, each after a twentieth.
	s.site.Misbehave("/file", fetchtest.Fault{Cut: true, CutAfter: size / 20})
	s.mustFile(src, data)
	if n := s.site.Requests("/file"); n != 20 {
		t.Errorf("%d requests", n)
	}
}

// Each makes some progress at each connection, in a way, and would keep the
// client for ever.
func TestServersThatGiveTooLittleEndTheDownload(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fetchtest.Fault{
		"a byte per connection":           {Cut: true, CutAfter: 1},
		"nothing":                         {Cut: true},
		"the same half again":             {Cut: true, CutAfter: 1 << 19, NoValidator: true},
		"the same half, ranges or not":    {Cut: true, CutAfter: 1 << 19, IgnoreRange: true},
		"always another range":            {Cut: true, CutAfter: 1 << 19, ContentRange: "bytes 0-1/2"},
		"always wrong after half of it":   {Cut: true, CutAfter: 1 << 19, Replace: randomBytes(2 << 20)[1<<20:]},
		"a byte, and not how many in all": {Cut: true, CutAfter: 1, NoLength: true},
		"a length and nothing else":       {Cut: true, Trickle: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			_, src := s.put(1 << 20)
			s.site.Misbehave("/file", fault)
			s.wantError(src, errcode.DownloadFailed)
			if n := s.site.Requests("/file"); n < 2 || n > 20 {
				t.Errorf("%d requests", n)
			}
			if s.partSize() > 1<<20 {
				t.Errorf("the part has %d bytes", s.partSize())
			}
		})
	}
}
