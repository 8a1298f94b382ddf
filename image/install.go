package image

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/privdir"
)

const opDownload = "download firecracker"

// workName is the directory in which a release is made ready.
func (r Release) workName() string { return ".new-" + r.name() }

// DownloadFirecracker returns the Firecracker and the jailer of a release, and
// downloads them unless they are there and are still what they were when they
// came. Then they are hashed once for each store and state of the files, and there
// is no need of a network.
//
// The archive of the release is checked against the hash that is published beside
// it, its members against the SHA256SUMS in it, and a Firecracker for this machine
// is asked for its version before both programs get their names. Concurrent
// callers, of this or another process, share one download; one that was killed is
// taken up where it ended.
//
// Errors: DOWNLOAD_FAILED, with StatusCode when a server answered, for the archive
// and what is wrong with it; BINARY_UNUSABLE for a program that is not the one that
// was asked for; NO_SPACE, INSECURE_PATH, DIRECTORY_FAILED, CANCELLED.
func (s *Store) DownloadFirecracker(ctx context.Context, v firecracker.Version) (Release, error) {
	if v.IsZero() {
		return Release{}, invalid(opDownload, "version", errors.New("a version is required"))
	}
	r := s.release(v)
	if s.isReady(ctx, r) {
		return r, nil
	}
	bin, err := privdir.Ensure(BinDir(s.dataDir))
	if err != nil {
		return Release{}, err
	}
	defer func() { _ = bin.Close() }()
	if err := s.ensureRelease(ctx, bin, r); err != nil {
		return Release{}, failed(ctx, errcode.DownloadFailed, opDownload, v.String(), err, "")
	}
	return r, nil
}

// isReady reports whether there is nothing to do for a release.
func (s *Store) isReady(ctx context.Context, r Release) bool {
	bin, err := privdir.Open(BinDir(s.dataDir))
	if err != nil {
		return false
	}
	defer func() { _ = bin.Close() }()
	return s.check(ctx, bin.Root(), r, s.digests.SHA256) == nil && isTidy(bin.Root(), r)
}

// leftovers are what a download leaves when its process is killed: the archive or
// a part of it, and the directory.
func (r Release) leftovers() []string {
	archive := r.archiveName()
	return []string{r.workName(), archive, "." + archive + ".part", "." + archive + ".part.json"}
}

func isTidy(bin *os.Root, r Release) bool {
	for _, name := range r.leftovers() {
		if there, err := exists(bin, name); there || err != nil {
			return false
		}
	}
	return true
}

// claimRelease waits until nobody else works on the release. The claim ends when it is closed.
func claimRelease(ctx context.Context, bin *os.Root, r Release) (*os.File, error) {
	f, err := openLock(bin, "."+r.name()+".lock")
	if err != nil {
		return nil, err
	}
	if err := filelock.Wait(ctx, f, filelock.Range{}, filelock.Exclusive); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (s *Store) ensureRelease(ctx context.Context, bin *privdir.Dir, r Release) error {
	claim, err := claimRelease(ctx, bin.Root(), r)
	if err != nil {
		return err
	}
	defer func() { _ = filelock.Close(claim) }()
	damage := s.check(ctx, bin.Root(), r, s.digests.SHA256)
	if damage != nil { // or somebody else was faster
		if !errors.Is(damage, fs.ErrNotExist) && ctx.Err() == nil {
			s.logger.LogAttrs(ctx, slog.LevelWarn, "stored release is damaged and is fetched again",
				slog.String("path", r.Firecracker), slog.Any("err", damage))
		}
		if err := s.fetchArchive(ctx, bin.Root(), r); err != nil {
			return err
		}
		fault.Point("install: archive")
		err = s.install(ctx, bin, r)
	}
	if ctx.Err() != nil {
		return err // the archive is good for the next try
	}
	for _, name := range r.leftovers() {
		err = errors.Join(err, bin.RemoveAll(name))
	}
	return err
}

// install unpacks the archive and puts the two programs into their place.
func (s *Store) install(ctx context.Context, bin *privdir.Dir, r Release) (err error) {
	work := r.workName()
	if err := bin.RemoveAll(work); err != nil { // of one that was killed
		return err
	}
	if err := bin.Root().Mkdir(work, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bin.RemoveAll(work)) }()
	dir, err := bin.Root().OpenRoot(work)
	if err != nil {
		return err
	}
	defer dir.Close()
	record, err := unpackRelease(ctx, bin.Root(), dir, r)
	if err != nil {
		return err
	}
	for _, name := range r.binaries() {
		if err := dir.Chmod(name, 0o755); err != nil {
			return err
		}
		if err := plainfile.SyncIn(dir, name); err != nil {
			return err
		}
	}
	if err := prove(ctx, filepath.Join(bin.Path(), work), r); err != nil {
		return err
	}
	fault.Point("install: unpacked")
	if err := bin.WriteFile(r.recordName(), record, true); err != nil {
		return err
	}
	fault.Point("install: recorded")
	for _, name := range r.binaries() {
		if err := bin.Root().Rename(filepath.Join(work, name), name); err != nil {
			return err
		}
		fault.Point("install: placed " + name)
	}
	return plainfile.SyncIn(bin.Root(), ".")
}
