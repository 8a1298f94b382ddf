package fetch_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

func TestRedirectsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ location, text string }{
		"loop":           {"/file", "more than 10 times"},
		"nowhere":        {" ", "to nowhere"},
		"unreadable":     {"http://[::1/?" + fetchtest.Signature, "to nowhere"},
		"file":           {"file:///etc/hostname", "neither http nor https"},
		"another scheme": {"ftp://host/file", "neither http nor https"},
		"no host":        {"http:///file", "neither http nor https"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			_, src := s.put(size)
			s.site.Misbehave("/file", fetchtest.Fault{Redirect: tt.location})
			e := s.wantError(src, errcode.DownloadFailed)
			if !strings.Contains(e.Error(), tt.text) || strings.Contains(e.Error(), fetchtest.Signature) {
				t.Errorf("got %v", e)
			}
			s.wantNames("")
			if n := s.site.Requests("/file"); n != 1 && (name != "loop" || n != 11) {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestTenRedirectsAreFollowed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	s.site.Misbehave("/file", fetchtest.Fault{Redirect: "/file", Times: 10})
	s.mustFile(src, data)
}

func TestHTTPSIsNeverLeftForHTTP(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, plain := s.put(size)
	secure := fetchtest.NewTLS(t)
	secure.Put("/file", data)
	secure.Misbehave("/file", fetchtest.Fault{Redirect: plain.URL})
	s.options.Transport = secure.Transport()
	e := s.wantError(source(secure.URL("/file"), data), errcode.DownloadFailed)
	if !strings.Contains(e.Error(), "from https to http") || s.site.Requests("/file") != 0 {
		t.Errorf("got %v after %d requests", e, s.site.Requests("/file"))
	}
	s.wantNames("")

	// The other way is an improvement.
	s.site.Misbehave("/file", fetchtest.Fault{Redirect: secure.URL("/file")})
	secure.Misbehave("/file", fetchtest.Fault{})
	s.mustFile(plain, data)
}

func TestCertificateThatIsNotTrustedIsFinal(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	secure := fetchtest.NewTLS(t)
	s.options.Transport = &http.Transport{}
	if e := s.wantError(fetch.Source{URL: secure.URL("/file")}, errcode.DownloadFailed); !strings.Contains(e.Error(), "certificate") {
		t.Errorf("got %v", e)
	}
	if s.log.String() != "" {
		t.Errorf("tried again: %s", s.log)
	}
}

func TestReleaseIsFoundBehindItsRedirect(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	archive := randomBytes(size)
	s.site.PutRelease("v1.2.3", "x86_64", archive)
	const name = "/v1.2.3/firecracker-v1.2.3-x86_64.tgz"
	stored := "/storage/releases" + name
	s.site.Misbehave(stored, fetchtest.Fault{Cut: true, CutAfter: 600, Times: 1})
	result := s.mustFile(source(s.site.ReleaseURL()+"/download"+name, archive), archive)
	if result.URL != s.site.URL(stored) {
		t.Errorf("result is %+v", result)
	}
	for i, header := range s.site.Headers(stored) {
		if header.Get("Referer") != "" || i == 1 && header.Get("Range") != "bytes=600-" {
			t.Errorf("request %d has %v", i, header)
		}
	}
}

func TestUserInfoGoesToItsHostOnly(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	data, src := s.put(size)
	other := fetchtest.New(t)
	other.Put("/file", data)
	src.URL = strings.Replace(src.URL, "http://", "http://user:secret@", 1)
	s.site.Misbehave("/file", fetchtest.Fault{Redirect: "/elsewhere"})
	s.site.Misbehave("/elsewhere", fetchtest.Fault{Redirect: other.URL("/file")})
	s.mustFile(src, data)
	for _, path := range []string{"/file", "/elsewhere"} {
		request := &http.Request{Header: s.site.Headers(path)[0]}
		if user, password, ok := request.BasicAuth(); !ok || user != "user" || password != "secret" {
			t.Errorf("%s was asked with %v", path, request.Header)
		}
	}
	if header := other.Headers("/file")[0]; header.Get("Authorization") != "" {
		t.Errorf("the other host got %v", header)
	}
}
