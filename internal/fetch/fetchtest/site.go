// Package fetchtest is a release site and an object store in memory, which can be
// told to misbehave. Only tests import it.
package fetchtest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	done   chan struct{} // closed when the test is over: nobody stalls any longer

	mu      sync.Mutex
	objects map[string]object // by path
	puts    int
	latest  string
	faults  map[string]Fault
	hits    map[string]int           // requests to a path since its fault was set
	headers map[string][]http.Header // of every request to a path
}

// object is a file of the site.
type object struct {
	data     []byte
	modified time.Time
	etag     string
}

// Signature is in the query of every URL to which a release file redirects: a
// secret that must be in no error and no log.
const Signature = "X-Amz-Signature=c0ffee5ec2e7"

const (
	bucketRoot  = "/bucket/"
	storageRoot = "/storage/releases/"
)

// New starts a site that speaks plain HTTP. It ends with the test.
func New(tb testing.TB) *Site {
	tb.Helper()
	return start(tb, (*httptest.Server).Start)
}

// NewTLS starts a site that speaks HTTPS, with HTTP/2, which [Site.Transport] trusts.
func NewTLS(tb testing.TB) *Site {
	tb.Helper()
	return start(tb, func(server *httptest.Server) {
		server.EnableHTTP2 = true
		server.StartTLS()
	})
}

func start(tb testing.TB, how func(*httptest.Server)) *Site {
	tb.Helper()
	s := &Site{
		done: make(chan struct{}), objects: map[string]object{}, faults: map[string]Fault{},
		hits: map[string]int{}, headers: map[string][]http.Header{},
	}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are what tests are about
	how(s.server)
	tb.Cleanup(func() {
		close(s.done)
		s.server.Close()
	})
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
func (s *Site) Put(path string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++ // each content has its own time, by the minute
	s.objects[path] = newObject(data, time.Date(2024, 1, 2, 3, s.puts, 0, 0, time.UTC))
}

// PutObject makes or replaces an object of the bucket, last modified at the given time.
func (s *Site) PutObject(key string, data []byte, modified time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[bucketRoot+key] = newObject(data, modified)
}

func newObject(data []byte, modified time.Time) object {
	sum := sha256.Sum256(data)
	return object{data, modified, fmt.Sprintf("%q", fmt.Sprintf("%x", sum[:16]))}
}

// PutRelease publishes a release archive for an architecture, as
// "firecracker-<version>-<arch>.tgz", with its ".sha256.txt".
func (s *Site) PutRelease(version, arch string, archive []byte) {
	name := "firecracker-" + version + "-" + arch + ".tgz"
	path := storageRoot + version + "/" + name
	s.Put(path, archive)
	s.Put(path+".sha256.txt", fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(archive), name))
}

// SetLatest says which version, such as "v1.12.1", the newest one is. Before it is
// called, there is none and the answer is 404.
func (s *Site) SetLatest(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = version
}

// Misbehave makes requests to a path go wrong, instead of what an earlier call has
// said about it; the zero Fault makes it behave. The path is that of the request,
// so a file of a release can fail before its redirect and behind it.
func (s *Site) Misbehave(path string, fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[path] = fault
	s.hits[path] = 0
}

// Requests returns how many requests there were to a path, those that went wrong included.
func (s *Site) Requests(path string) int { return len(s.Headers(path)) }

// Headers returns the headers of the requests to a path, oldest first.
func (s *Site) Headers(path string) []http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.headers[path])
}

// WriteTree writes everything into dir in the layout that file URLs need:
// dir/releases/download/<version>/<file>, dir/bucket/<key> and dir/<path>.
func (s *Site) WriteTree(tb testing.TB, dir string) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, object := range s.objects {
		if file, ok := strings.CutPrefix(path, storageRoot); ok {
			path = "/releases/download/" + file
		}
		path = filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, object.data, 0o600); err != nil {
			tb.Fatal(err)
		}
		if err := os.Chtimes(path, object.modified, object.modified); err != nil {
			tb.Fatal(err)
		}
	}
}
