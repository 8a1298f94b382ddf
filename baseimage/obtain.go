package baseimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/digest"
	"github.com/smartvm/smartvm/internal/fetch"
)

// fileMode is that of the files that a VM boots from. Nobody else reaches them
// through the cache's directory, but a jail may have a hard link or a bind mount,
// and a Firecracker of another user in it must be able to read that.
const fileMode = 0o644

// obtain puts a file into dir, verified, and fills in its hash and size.
func (s *Store) obtain(ctx context.Context, dir *os.Root, a *ArtifactManifest, etag string) error {
	// A killed call may have fetched it.
	if a.SHA256 == "" || s.check(ctx, dir, a, false) != nil {
		// Anything but a file would not be replaced, and a link be written through.
		if err := dir.RemoveAll(a.FileName); err != nil {
			return err
		}
		if err := s.bring(ctx, dir, a, etag); err != nil {
			return err
		}
	}
	info, err := dir.Lstat(a.FileName)
	if err != nil {
		return err
	}
	a.SizeBytes = info.Size()
	return dir.Chmod(a.FileName, fileMode)
}

func (s *Store) bring(ctx context.Context, dir *os.Root, a *ArtifactManifest, etag string) error {
	if a.Path != "" {
		return s.copyFile(ctx, dir, a)
	}
	return s.download(ctx, dir, a, etag)
}

func (s *Store) download(ctx context.Context, dir *os.Root, a *ArtifactManifest, etag string) error {
	got, err := s.fetch.File(ctx, fetch.Source{URL: a.URL, SHA256: a.SHA256, Size: a.SizeBytes, Name: a.FileName}, dir, a.FileName)
	if err != nil {
		return err
	}
	if isMD5(etag) && isMD5(got.ETag) && bare(etag) != bare(got.ETag) {
		return &errcode.Error{
			Code: errcode.DownloadFailed, Op: "download", Subject: got.URL,
			Err: fmt.Errorf("it is not the file of the listing: %w", fetch.ErrWrongContent), Hint: "try again: it may be published right now",
			Details: []errcode.Detail{{Field: "want", Message: "ETag " + bare(etag)}, {Field: "got", Message: "ETag " + bare(got.ETag)}},
		}
	}
	a.SHA256 = got.SHA256
	return nil
}

// isMD5 reports whether an ETag is one of S3's: a hash, with the number of parts if
// there were several. Mirrors on ordinary web servers make up theirs.
func isMD5(etag string) bool {
	hash, _, _ := strings.Cut(bare(etag), "-")
	return len(hash) == 32 && strings.Trim(hash, "0123456789abcdef") == ""
}

func bare(etag string) string { return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`) }

// copyFile takes a local file, as cheaply as the file system allows and with its
// holes. What is hashed is the copy.
func (s *Store) copyFile(ctx context.Context, dir *os.Root, a *ArtifactManifest) error {
	place, err := s.space.Choose(a.Path, []*os.Root{dir})
	if err != nil {
		return copyFailed(a, err)
	}
	defer place.Release()
	if _, err := place.Copy(ctx, a.FileName); err != nil {
		return copyFailed(a, err)
	}
	f, err := dir.OpenFile(a.FileName, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	sum, err := digest.Sum(ctx, f)
	if err != nil {
		return err
	}
	var wrong []errcode.Detail
	if a.SHA256 != "" && a.SHA256 != sum {
		wrong = append(wrong, errcode.Detail{Field: "sha256", Message: fmt.Sprintf("it is %s, not %s", sum, a.SHA256)})
	}
	if a.SizeBytes != 0 && a.SizeBytes != info.Size() {
		wrong = append(wrong, errcode.Detail{Field: "sizeBytes", Message: fmt.Sprintf("it is %d, not %d", info.Size(), a.SizeBytes)})
	}
	if info.Size() == 0 {
		wrong = append(wrong, errcode.Detail{Field: "sizeBytes", Message: "it is 0"})
	}
	if len(wrong) > 0 {
		return &errcode.Error{
			Code: errcode.BaseImagePrepareFailed, Op: "copy", Subject: a.Path, Details: wrong,
			Hint: "the manifest describes another file",
		}
	}
	a.SHA256 = sum
	return f.Sync()
}

// copyFailed keeps the one code of staging that is not about a VM's drives.
func copyFailed(a *ArtifactManifest, err error) error {
	code := errcode.BaseImagePrepareFailed
	if errors.Is(err, errcode.NoSpace) {
		code = errcode.NoSpace
	}
	return &errcode.Error{Code: code, Op: "copy", Subject: a.Path, Err: err}
}
