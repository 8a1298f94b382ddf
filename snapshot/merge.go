package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// maxChain bounds how many diffs follow each other.
const maxChain = 64

// mergeName is the memory of a diff while it is being merged, and mergeLock the lock of
// who does that.
const (
	mergeName = ".merge"
	mergeLock = ".merge.lock"
)

// merged returns the path of the whole memory of a diff. It is put together once, beside
// the layers, which stay as they are, and has its name when it is whole and on the disk.
func (s *Store) merged(ctx context.Context, m *Manifest) (string, error) {
	path := filepath.Join(s.Path(m.Name), mergedFile)
	if done, err := isMerged(s.Path(m.Name)); err != nil || done {
		return path, err
	}
	base, layers, err := s.chain(ctx, m)
	if err != nil {
		return "", err
	}
	dir, err := os.OpenRoot(s.Path(m.Name))
	if err != nil {
		return "", err
	}
	defer dir.Close()
	lock, err := dir.OpenFile(mergeLock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := await(ctx, lock); err != nil {
		return "", err
	}
	defer func() { _ = filelock.Release(lock, filelock.Range{}) }()
	if done, err := isMerged(s.Path(m.Name)); err != nil || done {
		return path, err // somebody else has done it
	}
	if err := s.merge(ctx, dir, base, layers); err != nil {
		return "", fmt.Errorf("merge snapshot %s: %w", m.Name, err)
	}
	return path, nil
}

// chain returns the whole memory that a diff comes down to, and the layers that follow
// it, oldest first. All of them are what they were.
func (s *Store) chain(ctx context.Context, m *Manifest) (base string, layers []string, err error) {
	for range maxChain {
		layers = append([]string{filepath.Join(s.Path(m.Name), MemoryFile)}, layers...)
		parent, err := s.Check(ctx, m.Parent.Name)
		if err != nil {
			return "", nil, err
		}
		if parent.ID != m.Parent.ID {
			return "", nil, broken(m.Name, fmt.Errorf("%s is another snapshot than the one that it follows", parent.Name))
		}
		if parent.Memory.Size != m.Memory.Size {
			return "", nil, broken(m.Name, fmt.Errorf("its memory has %d bytes, that of %s %d", m.Memory.Size, parent.Name, parent.Memory.Size))
		}
		if parent.Type == Full {
			return filepath.Join(s.Path(parent.Name), MemoryFile), layers, nil
		}
		if done, err := isMerged(s.Path(parent.Name)); err != nil || done {
			return filepath.Join(s.Path(parent.Name), mergedFile), layers, err
		}
		m = parent
	}
	return "", nil, broken(m.Name, fmt.Errorf("more than %d diffs follow each other", maxChain))
}

// stampName says what the stamp of a merged memory is. It is made last.
const stampName = ".merged"

// isMerged reports whether the whole memory of a diff is there. It is an error if that is
// not what it was.
func isMerged(dir string) (bool, error) {
	want, err := plainfile.Read(filepath.Join(dir, stampName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	info, err := os.Lstat(filepath.Join(dir, mergedFile))
	if err != nil || stamp(info) != string(want) {
		return false, broken(filepath.Base(dir), errors.Join(errors.New(mergedFile+" was changed"), err))
	}
	return true, nil
}

func (s *Store) merge(ctx context.Context, dir *os.Root, base string, layers []string) error {
	for _, name := range []string{mergeName, mergedFile} { // of one that was killed
		if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	place, err := s.space.Choose(base, []*os.Root{dir})
	if err != nil {
		return err
	}
	defer place.Release()
	if _, err := place.Copy(ctx, mergeName); err != nil {
		return err
	}
	fault.Point("snapshot: base copied")
	err = overlay(ctx, dir, layers)
	if err == nil {
		fault.Point("snapshot: layers merged")
		err = dir.Rename(mergeName, mergedFile)
	}
	if err != nil {
		return errors.Join(err, dir.Remove(mergeName))
	}
	fault.Point("snapshot: merged")
	info, err := dir.Lstat(mergedFile)
	if err != nil {
		return err
	}
	return errors.Join(writeNew(dir, stampName, []byte(stamp(info))), plainfile.SyncIn(dir, "."))
}

// overlay writes the data of the layers over the copy of their base.
func overlay(ctx context.Context, dir *os.Root, layers []string) (err error) {
	out, err := dir.OpenFile(mergeName, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, layer := range layers {
		in, err := plainfile.Open(layer, unix.O_RDONLY)
		if err != nil {
			return err
		}
		if err := errors.Join(copyData(ctx, out, in), in.Close()); err != nil {
			return err
		}
	}
	return errors.Join(out.Chmod(0o400), out.Sync())
}

// pieceSize bounds one call into the kernel, and so the time until a cancelled context
// is noticed.
const pieceSize = 16 << 20

// copyData copies what is between the holes of one file to the same places of another.
func copyData(ctx context.Context, out, in *os.File) error {
	for at := int64(0); ; {
		from, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // nothing but a hole is left
		}
		if err != nil {
			return &os.PathError{Op: "seek", Path: in.Name(), Err: err}
		}
		to, err := unix.Seek(int(in.Fd()), from, unix.SEEK_HOLE)
		if err != nil {
			return &os.PathError{Op: "seek", Path: in.Name(), Err: err}
		}
		for at = from; at < to; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n, err := copyPiece(out, in, at, int(min(to-at, pieceSize)))
			if err != nil {
				return noSpace(err)
			}
			at += int64(n)
		}
	}
}

// copyPiece copies in the kernel where that can, else through memory.
func copyPiece(out, in *os.File, at int64, size int) (int, error) {
	from, to := at, at
	n, err := unix.CopyFileRange(int(in.Fd()), &from, int(out.Fd()), &to, size, 0)
	switch {
	case err == nil && n > 0:
		return n, nil
	case err == nil:
		return 0, &os.PathError{Op: "copy", Path: in.Name(), Err: errors.New("it has become shorter")}
	case !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS):
		return 0, &os.PathError{Op: "copy", Path: in.Name(), Err: err}
	}
	buf := make([]byte, min(size, 1<<20))
	if n, err = in.ReadAt(buf, at); n == 0 {
		return 0, err
	}
	return out.WriteAt(buf[:n], at)
}

func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &errcode.Error{Code: errcode.NoSpace, Op: "write snapshot", Err: err, Hint: "free some room, or remove snapshots: smartvm snapshot rm"}
	}
	return err
}
