package baseimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/smartvm/smartvm/internal/digest"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// damage is what is wrong with a file of the cache, and is mended by fetching it
// again.
type damage struct{ what string }

func (d *damage) Error() string { return d.what }

func damaged(format string, args ...any) error { return &damage{fmt.Sprintf(format, args...)} }

// check compares a file of the cache with what it has to be. With afresh it is
// hashed whatever is remembered. The error is a *damage when the file must be
// fetched again.
func (s *Store) check(ctx context.Context, dir *os.Root, want *ArtifactManifest, afresh bool) error {
	hash := s.digests.SHA256
	if afresh {
		hash = s.digests.Afresh
	}
	const tries = 3 // a repair or a new hard link is no damage
	var err error
	for range tries {
		err = checkOnce(ctx, dir, want, hash)
		if !errors.Is(err, plainfile.ErrReplaced) && !errors.Is(err, digest.ErrChanged) {
			return err
		}
	}
	return damaged("%v", err)
}

func checkOnce(ctx context.Context, dir *os.Root, want *ArtifactManifest, hash func(context.Context, *os.File) (string, error)) error {
	f, err := openSized(dir, want)
	if err != nil {
		return err
	}
	defer f.Close()
	sum, err := hash(ctx, f)
	switch {
	case errors.Is(err, syscall.EIO):
		return damaged("it can't be read: %v", err)
	case err != nil:
		return err
	case sum != want.SHA256:
		return damaged("it has the SHA256 %s, not %s", sum, want.SHA256)
	}
	return nil
}

// learn remembers the hash of a file that was verified on its way to its place.
func (s *Store) learn(ctx context.Context, dir *os.Root, a *ArtifactManifest) error {
	f, err := openSized(dir, a)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.digests.Learn(ctx, f, a.SHA256)
}

// openSized is openPlain for a file whose size may be known.
func openSized(dir *os.Root, want *ArtifactManifest) (*os.File, error) {
	f, size, err := openPlain(dir, want.FileName)
	if err == nil && want.SizeBytes > 0 && size != want.SizeBytes {
		err = errors.Join(damaged("it has %d bytes, not %d", size, want.SizeBytes), f.Close())
	}
	return f, err
}

// openPlain opens a file of the cache that is no link and that nobody else can
// write, and returns its size. What is wrong with it is a *damage.
func openPlain(dir *os.Root, name string) (*os.File, int64, error) {
	f, info, err := plainfile.OpenIn(dir, name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, 0, damaged("it is missing")
	case errors.Is(err, plainfile.ErrIrregular):
		return nil, 0, irregular(dir, name)
	case err != nil:
		return nil, 0, err
	}
	uid := -1
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		uid = int(st.Uid)
	}
	switch {
	case info.Mode()&0o022 != 0:
		err = damaged("others may write it, its mode is %04o", info.Mode().Perm())
	case uid != os.Geteuid():
		err = damaged("it belongs to uid %d", uid)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func irregular(dir *os.Root, name string) error {
	info, err := dir.Lstat(name)
	if err != nil {
		return damaged("it is no regular file")
	}
	return damaged("it is no regular file but %s", kindOf(info.Mode()))
}

func kindOf(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&os.ModeSymlink != 0:
		return "a symbolic link"
	case m&os.ModeNamedPipe != 0:
		return "a FIFO"
	default:
		return m.Type().String()
	}
}
