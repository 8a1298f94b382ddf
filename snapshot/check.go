package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"syscall"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// stamp changes whenever a file does: the kernel sets the time of its last change, and
// nobody can set that back.
func stamp(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d:%d.%09d", st.Dev, st.Ino, st.Ctim.Sec, st.Ctim.Nsec)
}

// stampShared notes what a drive is that stays where it is: it may be replaced by
// the same content, so only its size and the time of its content count.
func stampShared(d *Drive) error {
	info, err := os.Stat(d.HostPath)
	if err != nil {
		return err
	}
	d.File = File{Size: info.Size(), Stamp: sharedStamp(info)}
	return nil
}

func sharedStamp(info fs.FileInfo) string { return fmt.Sprint(info.ModTime().UnixNano()) }

// Check returns the manifest of a snapshot whose files are, by their stamps, what they
// were. It reads none but the state, which Firecracker protects by a checksum only. The
// error is INVALID_SNAPSHOT, and its Details name each file that is not.
func (s *Store) Check(ctx context.Context, name string) (*Manifest, error) {
	m, err := s.Get(name)
	if err != nil {
		return nil, err
	}
	dir, err := os.OpenRoot(s.Path(name))
	if err != nil {
		return nil, broken(name, err)
	}
	defer dir.Close()
	var faults []errcode.Detail
	for _, part := range m.partNames() {
		if err := m.parts()[part].unchanged(dir, part); err != nil {
			faults = append(faults, errcode.Detail{Field: part, Message: err.Error()})
		}
	}
	if len(faults) == 0 {
		hash, err := hashOf(ctx, dir, StateFile)
		if err != nil || hash != m.State.SHA256 {
			faults = append(faults, errcode.Detail{Field: StateFile, Message: fmt.Sprintf("its content was changed (%v)", err)})
		}
	}
	for _, d := range m.Drives {
		if d.Copy != "" {
			continue
		}
		if err := d.unchanged(); err != nil {
			faults = append(faults, errcode.Detail{Field: "drive " + d.ID, Message: err.Error()})
		}
	}
	if len(faults) > 0 {
		e := broken(name, errors.New("files are not what they were"))
		if b, ok := errors.AsType[*errcode.Error](e); ok {
			b.Details = faults
		}
		return nil, e
	}
	return m, nil
}

func (f *File) unchanged(dir *os.Root, name string) error {
	info, err := dir.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("it is gone")
	case err != nil:
		return err
	case info.Size() != f.Size:
		return fmt.Errorf("it has %d bytes, and had %d", info.Size(), f.Size)
	case stamp(info) != f.Stamp:
		return errors.New("it was changed, or another file took its place")
	}
	return nil
}

func (d *Drive) unchanged() error {
	info, err := os.Stat(d.HostPath)
	switch {
	case err != nil:
		return err
	case info.Size() != d.File.Size || sharedStamp(info) != d.File.Stamp:
		return fmt.Errorf("%s was changed since", d.HostPath)
	}
	return nil
}

func hashOf(ctx context.Context, dir *os.Root, name string) (string, error) {
	f, info, err := plainfile.OpenIn(dir, name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	for buf := make([]byte, min(info.Size()+1, 1<<20)); ; {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		n, err := f.Read(buf)
		_, _ = h.Write(buf[:n]) // a hash takes everything
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// validFormat is the version in the head of a state file.
var validFormat = regexp.MustCompile(`^[0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5}$`)

// formatOf reads the version of a state file. Its head is a magic number of 8 bytes and
// the version as text behind its length (snapshot/mod.rs of Firecracker 1.12: bincode of
// SnapshotHdr).
func formatOf(dir *os.Root) (string, error) {
	f, _, err := plainfile.OpenIn(dir, StateFile)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 40)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	head = head[:n]
	if len(head) < 16 {
		return "", nil
	}
	length := binary.LittleEndian.Uint64(head[8:])
	if length > uint64(len(head)-16) {
		return "", nil
	}
	if text := head[16 : 16+length]; validFormat.Match(text) {
		return string(text), nil
	}
	return "", nil // of a release that writes it in another way
}
