package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/digest"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// maxArchive bounds a release archive, in bytes: those with debugging symbols
// have some hundred megabytes.
const maxArchive = 2 << 30

// archiveName is the release's file on its page, and below the data directory
// until it is unpacked.
func (r Release) archiveName() string { return r.name() + ".tgz" }

// fetchArchive puts the archive, with the hash that is published for it, into bin.
func (s *Store) fetchArchive(ctx context.Context, bin *os.Root, r Release) error {
	name := r.archiveName()
	at := s.releases + "/download/" + r.Version.String() + "/" + name
	text, err := s.fetcher.Bytes(ctx, at+".sha256.txt", maxText)
	if err != nil {
		return missing(r, err)
	}
	sums, err := parseSums(text)
	if err == nil && sums[name] == "" {
		err = errors.New("it has no hash of " + name)
	}
	if err != nil {
		return fmt.Errorf("%s.sha256.txt: %w", name, err)
	}
	if s.hasArchive(ctx, bin, name, sums[name]) {
		return nil
	}
	_, err = s.fetcher.File(ctx, fetch.Source{URL: at, SHA256: sums[name], MaxSize: maxArchive}, bin, name)
	return missing(r, err)
}

// hasArchive reports whether a call that was killed has left the whole archive.
func (s *Store) hasArchive(ctx context.Context, bin *os.Root, name, want string) bool {
	f, _, err := plainfile.OpenIn(bin, name)
	if err != nil {
		return false
	}
	defer f.Close()
	got, err := digest.Sum(ctx, f)
	return err == nil && got == want
}

// missing explains that a release is not there; other errors stay as they are.
func missing(r Release, err error) error {
	e, ok := errors.AsType[*errcode.Error](err)
	absent := ok && e.Code == errcode.DownloadFailed && (e.StatusCode == http.StatusNotFound || errors.Is(err, fs.ErrNotExist))
	if !absent {
		return err
	}
	return &errcode.Error{
		Code: errcode.DownloadFailed, Op: opDownload, Subject: r.Version.String(), StatusCode: e.StatusCode, Err: err,
		Hint: "is there such a release for " + r.Arch + "?",
	}
}
