package fetchtest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	length int64
	body   string
	err    error // of reading the body
}

// get makes one request and follows no redirect.
func get(t *testing.T, site *fetchtest.Site, target string, header ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := site.Transport().RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, response.ContentLength, string(body), err}
}

func TestReleaseSiteRedirectsAsTheRealOne(t *testing.T) {
	t.Parallel()
	site := fetchtest.New(t)
	if got := get(t, site, site.ReleaseURL()+"/latest"); got.status != http.StatusNotFound {
		t.Errorf("without a release: %d", got.status)
	}
	site.PutRelease("v1.2.3", "x86_64", []byte("archive"))
	site.SetLatest("v1.2.3")
	got := get(t, site, site.ReleaseURL()+"/latest")
	tag := got.header.Get("Location")
	if got.status != http.StatusFound || tag != site.ReleaseURL()+"/tag/v1.2.3" {
		t.Errorf("latest: %d to %q", got.status, tag)
	}
	if got := get(t, site, tag); got.status != http.StatusOK {
		t.Errorf("tag: %d", got.status)
	}
	if got := get(t, site, site.ReleaseURL()+"/tag/v9.9.9"); got.status != http.StatusNotFound {
		t.Errorf("a tag that is none: %d", got.status)
	}
	const file = "firecracker-v1.2.3-x86_64.tgz"
	sum := fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte("archive")), file)
	for name, want := range map[string]string{file: "archive", file + ".sha256.txt": sum} {
		got := get(t, site, site.ReleaseURL()+"/download/v1.2.3/"+name)
		location := got.header.Get("Location")
		if got.status != http.StatusFound || !strings.HasSuffix(location, "?"+fetchtest.Signature) {
			t.Errorf("%s: %d to %q", name, got.status, location)
			continue
		}
		if got := get(t, site, location); got.err != nil || got.body != want {
			t.Errorf("%s: %q, %v", name, got.body, got.err)
		}
	}
}

type listing struct {
	IsTruncated           bool   `xml:"IsTruncated"`
	NextContinuationToken string `xml:"NextContinuationToken"`
	Contents              []struct {
		Key          string    `xml:"Key"`
		ETag         string    `xml:"ETag"`
		Size         int       `xml:"Size"`
		LastModified time.Time `xml:"LastModified"`
	} `xml:"Contents"`
	CommonPrefixes []struct {
		Prefix string `xml:"Prefix"`
	} `xml:"CommonPrefixes"`
}

// list follows the pages of a listing.
func list(t *testing.T, site *fetchtest.Site, query string) (keys, prefixes []string, pages int) {
	t.Helper()
	for token := ""; ; {
		got := get(t, site, site.BucketURL()+"?list-type=2&"+query+"&continuation-token="+url.QueryEscape(token))
		var page listing
		if err := xml.Unmarshal([]byte(got.body), &page); err != nil {
			t.Fatalf("%v in %s", err, got.body)
		}
		pages++
		for _, c := range page.Contents {
			keys = append(keys, c.Key)
			if c.Size != len(c.Key) || c.ETag == "" || !c.LastModified.Equal(modified) {
				t.Errorf("%+v", c)
			}
		}
		for _, p := range page.CommonPrefixes {
			prefixes = append(prefixes, p.Prefix)
		}
		if token = page.NextContinuationToken; token == "" {
			if page.IsTruncated {
				t.Error("truncated without a token")
			}
			return keys, prefixes, pages
		}
	}
}

var modified = time.Date(2025, 6, 7, 8, 9, 10, 0, time.UTC)

func TestBucketListsLikeS3(t *testing.T) {
	t.Parallel()
	site := fetchtest.New(t)
	site.PageSize = 3
	site.Put("/bucketful", nil) // not in the bucket
	var all []string
	for _, key := range []string{"a/1", "a/2", "a/b/3", "a/b/4", "b", "ca/5", "cb/6"} {
		site.PutObject(key, []byte(key), modified)
		all = append(all, key)
	}
	tests := []struct {
		query          string
		keys, prefixes []string
		pages          int
	}{
		{"", all, nil, 3},
		{"prefix=a/", []string{"a/1", "a/2", "a/b/3", "a/b/4"}, nil, 2},
		{"prefix=a/&max-keys=2", []string{"a/1", "a/2", "a/b/3", "a/b/4"}, nil, 2},
		{"prefix=a/&max-keys=1000", []string{"a/1", "a/2", "a/b/3", "a/b/4"}, nil, 2},
		{"delimiter=/", []string{"b"}, []string{"a/", "ca/", "cb/"}, 2},
		{"prefix=a/&delimiter=/", []string{"a/1", "a/2"}, []string{"a/b/"}, 1},
		{"prefix=c&delimiter=/", nil, []string{"ca/", "cb/"}, 1},
		{"prefix=nothing", nil, nil, 1},
	}
	for _, tt := range tests {
		keys, prefixes, pages := list(t, site, tt.query)
		if diff := cmp.Diff(tt.keys, keys) + cmp.Diff(tt.prefixes, prefixes); diff != "" || pages != tt.pages {
			t.Errorf("%q: %d pages, want %d %s", tt.query, pages, tt.pages, diff)
		}
	}
	for _, query := range []string{"", "?list-type=1", "?list-type=2&continuation-token=*"} {
		if got := get(t, site, site.BucketURL()+"/"+query); got.status != http.StatusBadRequest {
			t.Errorf("%q: %d", query, got.status)
		}
	}
}

func TestObjectsHaveRangesAndValidators(t *testing.T) {
	t.Parallel()
	site := fetchtest.New(t)
	site.PutObject("key", []byte("0123456789"), modified)
	target := site.BucketURL() + "/key"
	got := get(t, site, target)
	etag, date := got.header.Get("ETag"), got.header.Get("Last-Modified")
	if got.body != "0123456789" || !strings.HasPrefix(etag, `"`) || date != modified.Format(http.TimeFormat) {
		t.Errorf("%q with %v", got.body, got.header)
	}
	for validator, want := range map[string]string{etag: "789", date: "789", `"other"`: "0123456789"} {
		if got := get(t, site, target, "Range", "bytes=7-", "If-Range", validator); got.body != want {
			t.Errorf("If-Range %s: %q, want %q", validator, got.body, want)
		}
	}
	site.PutObject("key", []byte("9876543210"), modified)
	if got := get(t, site, target); got.header.Get("ETag") == etag {
		t.Error("another content has the same ETag")
	}
	if got := site.Requests("/bucket/key"); got != 5 {
		t.Errorf("counted %d requests", got)
	}
}

func TestFaultsStrikeWhenTheyShould(t *testing.T) {
	t.Parallel()
	data := []byte("0123456789")
	for name, tt := range map[string]struct {
		fault  fetchtest.Fault
		status int
		body   string
		broken bool
	}{
		"none":       {fetchtest.Fault{}, 200, "0123456789", false},
		"status":     {fetchtest.Fault{Status: 503, RetryAfter: "7"}, 503, "", false},
		"redirect":   {fetchtest.Fault{Redirect: "/x"}, 302, "", false},
		"cut":        {fetchtest.Fault{Cut: true, CutAfter: 4}, 200, "0123", true},
		"cut at all": {fetchtest.Fault{Cut: true}, 200, "", true},
		"short":      {fetchtest.Fault{Short: 4}, 200, "012345", false},
		"corrupt":    {fetchtest.Fault{Corrupt: true}, 200, "0123446789", false},
		"replace":    {fetchtest.Fault{Replace: []byte("x")}, 200, "x", false},
		"trickle":    {fetchtest.Fault{Trickle: 3}, 200, "0123456789", false},
		"no length":  {fetchtest.Fault{NoLength: true}, 200, "0123456789", false},
	} {
		site := fetchtest.New(t)
		site.Put("/file", data)
		tt.fault.Skip, tt.fault.Times = 1, 1
		site.Misbehave("/file", tt.fault)
		for i, want := range []string{"0123456789", tt.body, "0123456789"} {
			got := get(t, site, site.URL("/file"))
			status, broken := 200, false
			if i == 1 {
				status, broken = tt.status, tt.broken
			}
			if got.body != want || got.status != status || (got.err != nil) != broken {
				t.Errorf("%s, request %d: %d, %q, %v", name, i, got.status, got.body, got.err)
			}
			if i == 1 && (got.header.Get("Retry-After") != tt.fault.RetryAfter || tt.fault.NoLength != (got.length < 0)) {
				t.Errorf("%s: %v", name, got.header)
			}
		}
	}
}

func TestTreeHasEverythingThatTheSiteHas(t *testing.T) {
	t.Parallel()
	site := fetchtest.New(t)
	site.PutRelease("v1.2.3", "aarch64", []byte("archive"))
	site.PutObject("a/b", []byte("object"), modified)
	site.Put("/manifest.json", []byte("{}"))
	dir := t.TempDir()
	site.WriteTree(t, dir)
	for path, want := range map[string]string{
		"releases/download/v1.2.3/firecracker-v1.2.3-aarch64.tgz": "archive",
		"bucket/a/b":    "object",
		"manifest.json": "{}",
	} {
		got, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil || !bytes.Equal(got, []byte(want)) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "bucket/a/b")); err != nil || !info.ModTime().Equal(modified) {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "releases/download/v1.2.3/firecracker-v1.2.3-aarch64.tgz.sha256.txt")); errors.Is(err, os.ErrNotExist) {
		t.Error("the sum is missing")
	}
}
