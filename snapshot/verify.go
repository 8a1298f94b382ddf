package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/digest"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// Verify reads every file of a snapshot, also those that it shares with others, and
// compares it with its hash. A file that has none yet is given one, if it is by its stamp
// what it was: a snapshot is taken without, because that would be one more pass over all
// of the memory. A file whose content is proven to be the same is trusted again,
// whatever has happened to its stamp, and so is a shared drive that has been put back.
//
// The error is INVALID_SNAPSHOT, and its Details name each file that is not what it was.
func (s *Store) Verify(ctx context.Context, name string) (*Manifest, error) {
	m, dir, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	known := *m
	known.Drives = append([]Drive(nil), m.Drives...)
	faults := m.prove(ctx, dir)
	if m.Type == Diff {
		if err := proveWhole(ctx, dir); err != nil {
			faults = append(faults, errcode.Detail{Field: mergedFile, Message: err.Error()})
		}
	}
	if ctx.Err() != nil {
		return nil, coded(ctx, opVerify, name, context.Cause(ctx))
	}
	// What is proven of the others is worth keeping.
	if !known.sameFiles(m) {
		if err := s.rewrite(ctx, m); err != nil {
			return nil, err
		}
	}
	if len(faults) > 0 {
		return nil, &errcode.Error{
			Code: errcode.InvalidSnapshot, Op: opVerify, Subject: name, Details: faults,
			Hint: "put a shared drive back where it was; a snapshot whose own files have changed is lost: smartvm snapshot rm " + name,
		}
	}
	return m, nil
}

// prove reads the files of a snapshot, and notes what is known of them.
func (m *Manifest) prove(ctx context.Context, dir *os.Root) (faults []errcode.Detail) {
	blame := func(what string, err error) {
		if err != nil {
			faults = append(faults, errcode.Detail{Field: what, Message: err.Error()})
		}
	}
	for _, p := range m.parts() {
		blame(p.name, p.file.proveIn(ctx, dir, p.name))
	}
	for i := range m.Drives {
		if d := &m.Drives[i]; d.Copy == "" {
			blame("drive "+d.ID, d.proveShared(ctx))
		}
	}
	return faults
}

// proveWhole does it with the whole memory of a diff, if there is one.
func proveWhole(ctx context.Context, dir *os.Root) error {
	file, err := whole(dir)
	if err != nil || file == nil {
		return err
	}
	before := *file
	if err := file.proveIn(ctx, dir, mergedFile); err != nil || before == *file {
		return err
	}
	return writeRecord(dir, mergedRecord, file)
}

func (f *File) proveIn(ctx context.Context, dir *os.Root, name string) error {
	in, _, err := plainfile.OpenIn(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return errGone
	}
	if err != nil {
		return err
	}
	defer in.Close()
	return f.prove(ctx, in, stamp)
}

func (d *Drive) proveShared(ctx context.Context) error {
	in, err := openShared(d.HostPath)
	if err != nil {
		return err
	}
	defer in.Close()
	return d.File.prove(ctx, in, sharedStamp)
}

// openShared opens a drive that stays where it is. What the manifest of somebody else
// names may be anything.
func openShared(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if kind := fs.ModeType &^ fs.ModeDevice; err == nil && (info.Mode()&kind != 0) { // a directory, FIFO, socket, character device
		err = fmt.Errorf("%s is neither a file nor a disk", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

var (
	errGone     = errors.New("it is gone")
	errReplaced = errors.New("it was changed, or another file took its place")
)

// prove compares the content of a file with its hash, or makes that if there is none yet.
func (f *File) prove(ctx context.Context, in *os.File, stampOf func(fs.FileInfo) string) error {
	before, err := in.Stat()
	switch {
	case err != nil:
		return err
	case before.Size() != f.Size:
		return fmt.Errorf("it has %d bytes, and had %d", before.Size(), f.Size)
	case f.SHA256 == "" && stampOf(before) != f.Stamp:
		return fmt.Errorf("%w, and its content was never hashed", errReplaced)
	}
	hash, err := digest.Sum(ctx, in)
	if err != nil {
		return err
	}
	after, err := in.Stat()
	switch {
	case err != nil:
		return err
	case stampOf(after) != stampOf(before):
		return errors.New("somebody is changing it")
	case f.SHA256 != "" && f.SHA256 != hash:
		return otherContent(hash, f.SHA256)
	}
	f.SHA256, f.Stamp = hash, stampOf(after)
	return nil
}

// sameFiles tells whether the same is known of the files.
func (m *Manifest) sameFiles(other *Manifest) bool {
	if m.State != other.State || m.Memory != other.Memory {
		return false
	}
	for i := range m.Drives {
		if m.Drives[i] != other.Drives[i] {
			return false
		}
	}
	return true
}

// rewrite replaces the manifest of a snapshot by one that knows more.
func (s *Store) rewrite(ctx context.Context, m *Manifest) error {
	return s.change(ctx, func(store *os.Root) error {
		now, err := read(store, m.Name)
		if err != nil {
			return err
		}
		if now.ID != m.ID {
			return notFound(m.Name) // removed, and made anew
		}
		dir, err := store.OpenRoot(m.Name)
		if err != nil {
			return err
		}
		defer dir.Close()
		return writeRecord(dir, ManifestFile, m)
	})
}
