package snapshot

import (
	"context"
	"encoding/json"
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
	"github.com/smartvm/smartvm/internal/stage"
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
	dir, err := os.OpenRoot(s.Path(m.Name))
	if err != nil {
		return "", broken(m.Name, err)
	}
	defer dir.Close()
	path := filepath.Join(s.Path(m.Name), mergedFile)
	if done, err := isMerged(dir, m.Name); err != nil || done {
		return path, err
	}
	lock, err := dir.OpenFile(mergeLock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := filelock.Wait(ctx, lock, filelock.Range{}, filelock.Exclusive); err != nil {
		return "", err
	}
	defer func() { _ = filelock.Release(lock, filelock.Range{}) }()
	if done, err := isMerged(dir, m.Name); err != nil || done {
		return path, err // somebody else has done it
	}
	if _, err := s.Check(ctx, m.Name); err != nil {
		return "", err
	}
	base, layers, err := s.chain(ctx, m)
	if err != nil {
		return "", err
	}
	if err := s.merge(ctx, dir, base, layers); err != nil {
		return "", fmt.Errorf("%s %s: %w", opMerge, m.Name, err)
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
		if whole, err := s.wholeOf(parent.Name); err != nil || whole != nil {
			return filepath.Join(s.Path(parent.Name), mergedFile), layers, err
		}
		m = parent
	}
	return "", nil, broken(m.Name, fmt.Errorf("more than %d diffs follow each other", maxChain))
}

// mergedRecord says what the whole memory of a diff is. It is made last: without it there
// is none.
const mergedRecord = ".merged"

// whole returns what is known of the whole memory of a diff; nil before it was merged.
// Where the file itself is gone, the layers can be merged again.
func whole(dir *os.Root) (*File, error) {
	data, err := dir.ReadFile(mergedRecord)
	if err == nil {
		_, err = dir.Lstat(mergedFile)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}
	if err != nil {
		return nil, err
	}
	file := new(File)
	if err := json.Unmarshal(data, file); err != nil {
		return nil, fmt.Errorf("%s: %w", mergedRecord, err)
	}
	return file, nil
}

func (s *Store) wholeOf(name string) (*File, error) {
	dir, err := os.OpenRoot(s.Path(name))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return whole(dir)
}

// isMerged reports whether the whole memory of a diff is there. It is an error if that is
// not what it was.
func isMerged(dir *os.Root, name string) (bool, error) {
	file, err := whole(dir)
	if err == nil && file != nil {
		err = file.unchanged(dir, mergedFile)
	}
	if err != nil {
		return false, damaged(name, []errcode.Detail{{Field: mergedFile, Message: err.Error()}})
	}
	return file != nil, nil
}

func (s *Store) merge(ctx context.Context, dir *os.Root, base string, layers []string) error {
	for _, name := range []string{mergeName, mergedRecord, mergedFile} { // of one that was killed
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
		return errors.Join(noSpace(err), dir.Remove(mergeName))
	}
	fault.Point("snapshot: merged")
	file := new(File)
	if err = file.note(dir, mergedFile); err == nil {
		err = writeRecord(dir, mergedRecord, file)
	}
	if err != nil {
		return errors.Join(err, dir.Remove(mergedFile))
	}
	return nil
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
		if err := errors.Join(stage.Overlay(ctx, out, in), in.Close()); err != nil {
			return err
		}
	}
	return errors.Join(out.Chmod(fileMode), out.Sync())
}
