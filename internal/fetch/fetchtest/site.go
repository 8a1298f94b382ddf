// Package fetchtest is a release site and an object store in memory, which can be
// told to misbehave. Only tests import it.
package fetchtest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Site serves what a test has put into it, on loopback:
//
//	/releases/latest                    302 to /releases/tag/<version>
//	/releases/tag/<version>             a page
//	/releases/download/<version>/<file> 302 to /storage/releases/<version>/<file>?<signature>, as
//	                                    the real site does to its object storage
//	/bucket/?list-type=2&prefix=...     ListObjectsV2
//	/bucket/<key>                       an object, with ETag, Last-Modified, Range and If-Range
//	anything else                       what was put there with Put
//
// It is safe for concurrent use.
type Site struct {
	// PageSize is the most keys and prefixes that one page of a listing has, if the
	// request does not ask for fewer. Default 1000, as in S3. Set it before the
	// first request.
	PageSize int

	server *httptest.Server
}

// New starts a site that speaks plain HTTP. It ends with the test.
func New(tb testing.TB) *Site {
	tb.Helper()
	return start(tb, (*httptest.Server).Start)
}

// NewTLS starts a site that speaks HTTPS, which [Site.Transport] trusts.
func NewTLS(tb testing.TB) *Site {
	tb.Helper()
	return start(tb, (*httptest.Server).StartTLS)
}

func start(tb testing.TB, how func(*httptest.Server)) *Site {
	tb.Helper()
	s := &Site{}
	s.server = httptest.NewUnstartedServer(http.NotFoundHandler())
	how(s.server)
	tb.Cleanup(s.server.Close)
	return s
}

// URL returns the URL of a path, which starts with a slash.
func (s *Site) URL(path string) string { return s.server.URL + path }

// ReleaseURL is the base URL of the releases, without a slash at the end.
func (s *Site) ReleaseURL() string { return s.URL("/releases") }

// BucketURL is the base URL of the bucket, without a slash at the end.
func (s *Site) BucketURL() string { return s.URL("/bucket") }

// Transport makes requests to the site and trusts its certificate. It uses no proxy.
func (s *Site) Transport() http.RoundTripper { return s.server.Client().Transport }

// Put makes or replaces the content of a path.
func (s *Site) Put(path string, data []byte) {}

// PutObject makes or replaces an object of the bucket, last modified at the given time.
func (s *Site) PutObject(key string, data []byte, modified time.Time) {}

// PutRelease publishes a release archive for an architecture, as
// "firecracker-<version>-<arch>.tgz", with its ".sha256.txt".
func (s *Site) PutRelease(version, arch string, archive []byte) {}

// SetLatest says which version, such as "v1.12.1", the newest one is. Before it is
// called, there is none and the answer is 404.
func (s *Site) SetLatest(version string) {}

// Misbehave makes requests to a path go wrong, instead of what an earlier call has
// said about it. The path is that of the request, before redirects.
func (s *Site) Misbehave(path string, fault Fault) {}

// Requests returns how many requests there were to a path, those that went wrong included.
func (s *Site) Requests(path string) int { return 0 }

// WriteTree writes everything into dir in the layout that file URLs need:
// dir/releases/download/<version>/<file>, dir/bucket/<key> and dir/<path>.
func (s *Site) WriteTree(tb testing.TB, dir string) { tb.Helper() }
