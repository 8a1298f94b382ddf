package baseimage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/smartvm/smartvm/internal/strict"
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

// readPage gives the keys and prefixes of a page to add, and returns the token of
// the next page, nil if this is the last one.
func readPage(data []byte, add func(object) error) (next *string, err error) {
	p := pageReader{add: add}
	if err := walkXML(data, p.element); err != nil {
		return nil, fmt.Errorf("the answer is not the listing of a bucket: %w", err)
	}
	if p.truncated {
		next = &p.token
	}
	return next, nil
}

// pageReader takes up the elements of a page, each at its end.
type pageReader struct {
	add       func(object) error
	next      object
	truncated bool
	token     string
}

func (p *pageReader) element(path []string, text []byte) (err error) {
	if path[0] != "ListBucketResult" {
		return fmt.Errorf("it is %s", strict.Quote(path[0]))
	}
	switch {
	case len(path) == 2 && path[1] == "Contents":
		err = p.add(p.next)
		p.next = object{}
	case len(path) == 2:
		err = p.setting(path[1], text)
	case len(path) == 3 && path[1] == "Contents":
		err = p.property(path[2], text)
	case len(path) == 3 && path[1] == "CommonPrefixes" && path[2] == "Prefix":
		err = p.add(object{Key: string(text)})
	}
	return err
}

// setting takes up what is about the page.
func (p *pageReader) setting(name string, text []byte) (err error) {
	switch name {
	case "IsTruncated":
		p.truncated, err = strconv.ParseBool(string(text))
	case "NextContinuationToken":
		p.token = string(text)
	}
	return err
}

// property takes up what is about a key.
func (p *pageReader) property(name string, text []byte) (err error) {
	switch name {
	case "Key":
		p.next.Key = string(text)
	case "ETag":
		p.next.ETag = string(text)
	case "Size":
		if p.next.Size, err = strconv.ParseInt(string(text), 10, 64); p.next.Size < 0 {
			err = fmt.Errorf("a file has the size %d", p.next.Size)
		}
	case "LastModified":
		p.next.LastModified, _ = time.Parse(time.RFC3339, string(text)) // only shown
	}
	return err
}
