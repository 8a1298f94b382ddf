package fetchtest

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// listing is the answer of ListObjectsV2:
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
type listing struct {
	XMLName               xml.Name  `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name                  string    `xml:"Name"`
	Prefix                string    `xml:"Prefix"`
	ContinuationToken     string    `xml:"ContinuationToken,omitempty"`
	NextContinuationToken string    `xml:"NextContinuationToken,omitempty"`
	KeyCount              int       `xml:"KeyCount"`
	MaxKeys               int       `xml:"MaxKeys"`
	Delimiter             string    `xml:"Delimiter,omitempty"`
	IsTruncated           bool      `xml:"IsTruncated"`
	Contents              []content `xml:"Contents"`
	CommonPrefixes        []common  `xml:"CommonPrefixes"`
}

type content struct {
	Key          string `xml:"Key"`
	LastModified string `xml:"LastModified"`
	ETag         string `xml:"ETag"`
	Size         int    `xml:"Size"`
	StorageClass string `xml:"StorageClass"`
}

type common struct {
	Prefix string `xml:"Prefix"`
}

// list answers a request for a page of keys.
func (s *Site) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("list-type") != "2" {
		http.Error(w, "want list-type=2", http.StatusBadRequest)
		return
	}
	after, err := base64.URLEncoding.DecodeString(query.Get("continuation-token"))
	if err != nil {
		http.Error(w, "InvalidArgument: the continuation token is not one of ours", http.StatusBadRequest)
		return
	}
	page := listing{
		Name: "bucket", Prefix: query.Get("prefix"), Delimiter: query.Get("delimiter"),
		ContinuationToken: query.Get("continuation-token"), MaxKeys: s.pageSize(query.Get("max-keys")),
	}
	for _, entry := range s.entries(page.Prefix, page.Delimiter) {
		if entry <= string(after) {
			continue
		}
		if page.KeyCount == page.MaxKeys {
			page.IsTruncated = true
			break
		}
		page.KeyCount++
		page.NextContinuationToken = base64.URLEncoding.EncodeToString([]byte(entry))
		s.addEntry(&page, entry)
	}
	if !page.IsTruncated {
		page.NextContinuationToken = ""
	}
	w.Header().Set("Content-Type", "application/xml")
	_, _ = w.Write([]byte(xml.Header))
	_ = xml.NewEncoder(w).Encode(page) // a client that is gone needs no page
}

func (s *Site) pageSize(asked string) int {
	size := s.PageSize
	if size <= 0 {
		size = 1000
	}
	if n, err := strconv.Atoi(asked); err == nil && n >= 0 && n < size {
		return n
	}
	return size
}

// entries returns the keys and common prefixes below prefix, in order.
func (s *Site) entries(prefix, delimiter string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var entries []string
	for path := range s.objects {
		key, ok := strings.CutPrefix(path, bucketRoot)
		if !ok || !strings.HasPrefix(key, prefix) {
			continue
		}
		if delimiter != "" {
			if at := strings.Index(key[len(prefix):], delimiter); at >= 0 {
				key = key[:len(prefix)+at+len(delimiter)]
			}
		}
		entries = append(entries, key)
	}
	slices.Sort(entries)
	return slices.Compact(entries)
}

// addEntry adds a key or, where there is no such key, a common prefix.
func (s *Site) addEntry(page *listing, entry string) {
	o, ok := s.object(bucketRoot + entry)
	if !ok || page.Delimiter != "" && strings.HasSuffix(entry, page.Delimiter) && entry != page.Prefix {
		page.CommonPrefixes = append(page.CommonPrefixes, common{entry})
		return
	}
	page.Contents = append(page.Contents, content{
		Key: entry, LastModified: o.modified.UTC().Format("2006-01-02T15:04:05.000Z"), ETag: o.etag, Size: len(o.data), StorageClass: "STANDARD",
	})
}
