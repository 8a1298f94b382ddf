package fetch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// source is a Source that has been checked.
type source struct {
	url    *url.URL
	sha256 string
	size   int64
	limit  int64 // most bytes that are taken
	name   string
}

// maxName keeps the longest name beside the file, that of its record, within the
// 255 bytes that a name may have.
const maxName = 255 - len(".") - len(recordSuffix)

func parseSource(src Source) (*source, error) {
	u, err := parseURL(src.URL)
	if err != nil {
		return nil, err
	}
	s := &source{url: u, sha256: src.SHA256, size: src.Size, limit: src.MaxSize, name: src.Name}
	if s.limit == 0 {
		s.limit = DefaultMaxSize
	}
	if s.name == "" {
		s.name = path.Base(u.Path)
	}
	sum, err := hex.DecodeString(src.SHA256)
	switch {
	case src.SHA256 != "" && (err != nil || len(sum) != sha256.Size || strings.ToLower(src.SHA256) != src.SHA256):
		return nil, errors.New("the SHA256 must be 64 lower-case hexadecimal digits")
	case s.size < 0 || s.limit < 0:
		return nil, errors.New("a size must not be negative")
	}
	return s, nil
}

// parseURL reports no text of a URL that it can't read: any part may be a secret.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("the URL can't be read")
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return u, nil
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && strings.HasPrefix(u.Path, "/"):
		return u, nil
	}
	return nil, errors.New("the URL must be http://host/..., https://host/... or file:///absolute/path")
}

func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || filepath.Base(name) != name || strings.ContainsRune(name, 0):
		return errors.New("a file is named without a directory")
	case len(name) > maxName:
		return fmt.Errorf("a file name has at most %d bytes", maxName)
	}
	return nil
}

// id tells whether a part file is of this source: what has the same hash is the
// same, from whichever URL. It is a hash itself, for URLs hold secrets.
func (s *source) id() string {
	what := "url " + s.url.String()
	if s.sha256 != "" {
		what = "sha256 " + s.sha256
	}
	sum := sha256.Sum256([]byte(what))
	return hex.EncodeToString(sum[:])
}
