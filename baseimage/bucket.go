package baseimage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/smartvm/smartvm/errcode"
)

// Limits of one listing. The largest prefix of the bucket has a few hundred keys.
const (
	maxPage  = 8 << 20 // bytes; S3 puts 1000 keys on a page, about 400 KB
	maxPages = 64
	maxKeys  = 50_000
)

// object is a file of the bucket, as its listing has it.
type object struct {
	Key          string // such as firecracker-ci/v1.15/x86_64/vmlinux-6.1.155
	URL          string // absolute, with the user info of the bucket's URL; only once the object is chosen
	ETag         string // with its quotes; "" in a file tree
	Size         int64  // bytes
	LastModified time.Time
}

// listing is what is directly below a prefix of the bucket.
type listing struct {
	objects  []object
	prefixes []string // of what is further below, with a slash at the end
}

// bucket lists its keys. Prefixes have a slash at the end, as directories.
type bucket interface {
	list(ctx context.Context, prefix string) (*listing, error)
}

// openBucket returns the bucket at an http or https URL, or the tree of the same
// keys below the directory of a file URL. It looks at nothing yet.
func openBucket(text string, from documents) (bucket, *url.URL, error) {
	fail := func(cause string) error {
		return &errcode.Error{
			Code: errcode.InvalidConfig, Op: "open base image bucket", Err: errors.New(cause),
			Hint: "give a URL such as https://mirror.example.com/spec.ccfc.min or file:///srv/mirror",
		}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, nil, fail("its URL can't be read") // which may have a secret in it
	case u.RawQuery != "" || u.Fragment != "":
		return nil, nil, fail("its URL has a query or fragment")
	case (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "":
		return &remoteBucket{base: u, from: from}, u, nil
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path):
		return &treeBucket{base: u}, u, nil
	}
	return nil, nil, fail("its URL is not an http, https or file URL")
}

// add takes a key up if it is directly below prefix, and else the prefix that it
// is below. Keys outside are left out: a mirror may ignore what it is asked for.
func (l *listing) add(prefix string, o object) error {
	rest, ok := strings.CutPrefix(o.Key, prefix)
	if !ok || rest == "" {
		return nil
	}
	if len(l.objects)+len(l.prefixes) >= maxKeys {
		return fmt.Errorf("the bucket has more than %d keys below %s", maxKeys, prefix)
	}
	if name, _, deeper := strings.Cut(rest, "/"); deeper {
		below := prefix + name + "/"
		if n := len(l.prefixes); n == 0 || l.prefixes[n-1] != below {
			l.prefixes = append(l.prefixes, below)
		}
		return nil
	}
	l.objects = append(l.objects, o)
	return nil
}

// name is the last element of the key.
func (o *object) name() string { return path.Base(o.Key) }
