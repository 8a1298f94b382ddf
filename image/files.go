package image

import (
	"context"
	"encoding/hex"
	"errors"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/privdir"
)

// FileSource says where a kernel or a root file system comes from.
type FileSource struct {
	// URL has the scheme http, https or file; a file URL has an absolute path. User info
	// in it is sent and never shown.
	URL string
	// SHA256 is what the content must hash to, 64 hexadecimal digits; "" when it is not
	// known. Then nothing tells a wrong file from the right one.
	SHA256 string
	// SizeBytes is how large it must be; 0 when that is not known.
	SizeBytes int64
}

// DownloadKernel returns the path of the kernel of that name, [KernelPath], and
// downloads it unless it is there with the hash and the size that src demands.
// One that is there is taken as it is when src demands nothing. An empty name is
// the last element of the URL's path. The file is hashed once for each store and
// state of it. Concurrent callers, of this or another process, share one download.
//
// Errors: INVALID_CONFIG for a name with separators or a source that can't be
// meant, DOWNLOAD_FAILED with StatusCode when a server answered, NO_SPACE,
// INSECURE_PATH, DIRECTORY_FAILED, CANCELLED.
func (s *Store) DownloadKernel(ctx context.Context, src FileSource, name string) (string, error) {
	return s.downloadFile(ctx, "download kernel", src, KernelsDir(s.dataDir), name)
}

// DownloadRootfs is [Store.DownloadKernel] for a root file system; see [RootfsPath].
func (s *Store) DownloadRootfs(ctx context.Context, src FileSource, name string) (string, error) {
	return s.downloadFile(ctx, "download rootfs", src, RootfsDir(s.dataDir), name)
}

func (s *Store) downloadFile(ctx context.Context, op string, src FileSource, dir, name string) (string, error) {
	if u, err := url.Parse(src.URL); name == "" && err == nil {
		name = path.Base(u.Path)
	}
	if err := checkName(op, name); err != nil {
		return "", err
	}
	src.SHA256 = strings.ToLower(src.SHA256)
	if sum, err := hex.DecodeString(src.SHA256); err != nil || src.SHA256 != "" && len(sum) != 32 {
		return "", invalid(op, name, errors.New("a SHA256 has 64 hexadecimal digits"))
	}
	home, err := privdir.Ensure(dir)
	if err != nil {
		return "", err
	}
	defer func() { _ = home.Close() }()
	if s.hasFile(ctx, home.Root(), name, src) {
		return filepath.Join(dir, name), nil
	}
	_, err = s.fetcher.File(ctx, fetch.Source{URL: src.URL, SHA256: src.SHA256, Size: src.SizeBytes, Name: name}, home.Root(), name)
	if err != nil {
		return "", failed(ctx, errcode.DownloadFailed, op, name, err, "")
	}
	if err := home.Root().Chmod(name, fileMode); err != nil {
		return "", failed(ctx, errcode.DirectoryFailed, op, name, err, "")
	}
	return filepath.Join(dir, name), nil
}

// fileMode is that of kernels and root file systems. Nobody else reaches them through
// their directory, which is private, but a Firecracker of another user has them in
// its jail: what he may not read has to be made readable for each start anew.
const fileMode = 0o644

// hasFile reports whether the file is there and is what src demands. What can't
// be read is as good as missing: the download replaces it, or says why not.
func (s *Store) hasFile(ctx context.Context, dir *os.Root, name string, src FileSource) bool {
	f, info, err := plainfile.OpenIn(dir, name)
	if err != nil {
		return false
	}
	defer f.Close()
	if src.SizeBytes != 0 && info.Size() != src.SizeBytes {
		return false
	}
	if src.SHA256 == "" {
		return true
	}
	got, err := s.digests.SHA256(ctx, f)
	return err == nil && got == src.SHA256
}
