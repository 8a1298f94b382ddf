package baseimage

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// remoteBucket is a bucket that speaks S3's protocol, without a signature.
type remoteBucket struct {
	base *url.URL
	from documents
}

// list asks for page after page. How pages are asked for:
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
func (b *remoteBucket) list(ctx context.Context, prefix string) (*listing, error) {
	out := new(listing)
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}, "delimiter": {"/"}}
	seen := map[string]bool{"": true}
	for range maxPages {
		at := *b.base
		at.RawQuery = strings.ReplaceAll(query.Encode(), "%2F", "/") // for those who read it in an error
		data, err := b.from.Bytes(ctx, at.String(), maxPage)
		if err != nil {
			return nil, err
		}
		next, err := readPage(data, func(o object) error {
			o.URL = b.base.JoinPath(o.Key).String()
			return out.add(prefix, o)
		})
		switch {
		case err != nil:
			return nil, err
		case next == nil:
			return out, nil
		case seen[*next]:
			return nil, errors.New("the listing of the bucket does not end: a continuation token came twice, or is empty")
		}
		seen[*next] = true
		query.Set("continuation-token", *next)
	}
	return nil, fmt.Errorf("the listing of the bucket has more than %d pages", maxPages)
}

// page is the answer to a request for keys.
type page struct {
	XMLName   xml.Name  `xml:"ListBucketResult"`
	Truncated bool      `xml:"IsTruncated"`
	NextToken string    `xml:"NextContinuationToken"`
	Contents  []content `xml:"Contents"`
	Prefixes  []string  `xml:"CommonPrefixes>Prefix"`
}

type content struct {
	Key          string `xml:"Key"`
	ETag         string `xml:"ETag"`
	Size         int64  `xml:"Size"`
	LastModified string `xml:"LastModified"`
}

// readPage gives the keys and prefixes of a page to add, and returns the token of
// the next page, nil if this is the last one.
func readPage(data []byte, add func(object) error) (next *string, err error) {
	var p page
	if err := xml.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("the answer is not the listing of a bucket: %w", err)
	}
	for _, c := range p.Contents {
		if c.Size < 0 {
			return nil, errors.New("the listing of the bucket has a file of negative size")
		}
		modified, _ := time.Parse(time.RFC3339, c.LastModified) // only shown
		if err := add(object{Key: c.Key, ETag: c.ETag, Size: c.Size, LastModified: modified}); err != nil {
			return nil, err
		}
	}
	for _, prefix := range p.Prefixes {
		if err := add(object{Key: prefix}); err != nil {
			return nil, err
		}
	}
	if p.Truncated {
		next = &p.NextToken
	}
	return next, nil
}
