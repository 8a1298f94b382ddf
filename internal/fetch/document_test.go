package fetch_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

func TestBytesReturnsTheDocumentOrNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault fetchtest.Fault
		limit int64
		text  string // of the error; "" when there is none
	}{
		"good":               {fetchtest.Fault{}, size, ""},
		"not counted":        {fetchtest.Fault{NoLength: true}, size, ""},
		"second try":         {fetchtest.Fault{Status: 503, Times: 1}, size, ""},
		"cut once":           {fetchtest.Fault{Cut: true, CutAfter: 600, Times: 1}, size, ""},
		"redirected":         {fetchtest.Fault{Redirect: "/file", Times: 1}, size, ""},
		"too large":          {fetchtest.Fault{}, size - 1, "limit of 999 bytes"},
		"too large, unsaid":  {fetchtest.Fault{NoLength: true}, size - 1, "limit of 999 bytes"},
		"endless":            {fetchtest.Fault{Endless: true}, size, "limit of 1000 bytes"},
		"always cut":         {fetchtest.Fault{Cut: true, CutAfter: 600}, size, "unexpected EOF"},
		"encoded":            {fetchtest.Fault{Encoding: "gzip"}, size, "encoded"},
		"missing":            {fetchtest.Fault{Status: 404}, size, "404 Not Found"},
		"unasked-for range":  {fetchtest.Fault{Status: 206}, size, "206 Partial Content"},
		"redirected forever": {fetchtest.Fault{Redirect: "/file"}, size, "more than 10 times"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			data, src := s.put(size)
			s.site.Misbehave("/file", tt.fault)
			got, err := fetch.New(s.options).Bytes(t.Context(), src.URL, tt.limit)
			if tt.text == "" {
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
				return
			}
			e := wantCode(t, err, errcode.DownloadFailed)
			if got != nil || !strings.Contains(e.Error(), tt.text) || e.Subject != src.URL {
				t.Errorf("got %d bytes, %v", len(got), e)
			}
			if tt.fault.Status != 0 && e.StatusCode != tt.fault.Status {
				t.Errorf("status is %d", e.StatusCode)
			}
		})
	}
}

func TestBytesOfAFileURL(t *testing.T) {
	t.Parallel()
	data := randomBytes(size)
	url := fileURL(writeFile(t, data))
	f := fetch.New(quick)
	if got, err := f.Bytes(t.Context(), url, size); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	_, err := f.Bytes(t.Context(), url, size-1)
	wantCode(t, err, errcode.DownloadFailed)
	_, err = f.Bytes(t.Context(), url+"-missing", size)
	if wantCode(t, err, errcode.DownloadFailed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	_, err = f.Bytes(t.Context(), "file:///dev/zero", size)
	wantCode(t, err, errcode.DownloadFailed)
}

func TestLocationIsWhereTheNewestReleaseIs(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	f := fetch.New(s.options)
	latest := s.site.ReleaseURL() + "/latest"
	_, err := f.Location(t.Context(), latest)
	if e := wantCode(t, err, errcode.DownloadFailed); e.StatusCode != http.StatusNotFound || e.Subject != latest {
		t.Errorf("got %v", e)
	}
	s.site.SetLatest("v1.2.3")
	for name, fault := range map[string]fetchtest.Fault{
		"good": {}, "second try": {Status: 502, Times: 1}, "no HEAD": {Status: 405, Times: 1}, "not implemented": {Status: 501, Times: 1},
	} {
		s.site.Misbehave("/releases/latest", fault)
		got, err := f.Location(t.Context(), latest)
		if err != nil || got != s.site.ReleaseURL()+"/tag/v1.2.3" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	s.site.Misbehave("/releases/tag/v1.2.3", fetchtest.Fault{Status: 404})
	_, err = f.Location(t.Context(), latest)
	wantCode(t, err, errcode.DownloadFailed)
}

func TestLocationReadsNoBody(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.site.Misbehave("/file", fetchtest.Fault{Endless: true})
	if got, err := fetch.New(s.options).Location(t.Context(), s.site.URL("/file")); err != nil || got != s.site.URL("/file") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFileURLLeadsToItself(t *testing.T) {
	t.Parallel()
	if got, err := fetch.New(quick).Location(t.Context(), "file:///a/b"); err != nil || got != "file:///a/b" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestURLsThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	f := fetch.New(quick)
	for _, url := range []string{"", "host/s3cret", "ftp://s3cret", "http://user:s3cret@[::1"} {
		_, bytesErr := f.Bytes(t.Context(), url, 1)
		_, locationErr := f.Location(t.Context(), url)
		for _, err := range []error{bytesErr, locationErr} {
			if e := wantCode(t, err, errcode.InvalidConfig); strings.Contains(e.Error(), "s3cret") {
				t.Errorf("the error tells a secret: %v", e)
			}
		}
	}
}
