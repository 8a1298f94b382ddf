package fetch_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

// Secrets are in the user info, in the query, and in the query of a redirect.
func TestSecretsOfAURLAreInNoErrorAndNoLog(t *testing.T) {
	t.Parallel()
	secrets := []string{"s3cret", "t0ken", "bare-key", "fr4gment", strings.TrimPrefix(fetchtest.Signature, "X-Amz-Signature=")}
	tests := map[string]fetchtest.Fault{
		"status":   {Status: 404},
		"retries":  {Status: 503},
		"redirect": {Redirect: "http://[::1/?" + fetchtest.Signature},
		"loop":     {Redirect: "/stored?" + fetchtest.Signature},
		"cut":      {Cut: true, CutAfter: 10},
		"corrupt":  {Corrupt: true},
		"encoding": {Encoding: "gzip"},
		"none":     {},
		"host":     {Redirect: "http://127.0.0.1:1/?" + fetchtest.Signature}, // refuses connections
		"port":     {Redirect: "http://127.0.0.1:99999/?" + fetchtest.Signature},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			data := randomBytes(size)
			s.site.Put("/stored", data)
			s.site.Misbehave("/stored", fault)
			s.site.Misbehave("/file", fetchtest.Fault{Redirect: "/stored?" + fetchtest.Signature})
			src := source(strings.Replace(s.site.URL("/file?prefix=shown&token=t0ken&bare-key#fr4gment"), "http://", "http://user:s3cret@", 1), data)
			f := fetch.New(s.options)
			result, err := s.file(src)
			_, bytesErr := f.Bytes(t.Context(), src.URL, size)
			location, locationErr := f.Location(t.Context(), src.URL)
			said := s.log.String() + result.URL + location
			for _, err := range []error{err, bytesErr, locationErr} {
				if err == nil {
					continue
				}
				e := wantCode(t, err, errcode.DownloadFailed)
				said += e.Error() + e.Subject + e.Hint
				for _, d := range e.Details {
					said += d.String()
				}
			}
			if record, err := os.ReadFile(s.dir.Name() + "/.name.part.json"); err == nil {
				said += string(record)
			}
			for _, secret := range secrets {
				if strings.Contains(said, secret) {
					t.Errorf("%q is told: %s", secret, said)
				}
			}
			if want := s.site.URL("/file?prefix=shown"); name != "none" && !strings.Contains(said, want) {
				t.Errorf("%q is not told: %s", want, said)
			}
		})
	}
}

func TestFailureBehindARedirectNamesThePlace(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, src := s.put(size)
	s.site.Misbehave("/file", fetchtest.Fault{Redirect: "/gone"})
	e := s.wantError(src, errcode.DownloadFailed)
	if e.Subject != src.URL || e.StatusCode != http.StatusNotFound || len(e.Details) != 1 || e.Details[0].Message != s.site.URL("/gone") {
		t.Errorf("got %v with %v", e, e.Details)
	}
}
