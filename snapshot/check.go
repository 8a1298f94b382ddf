package snapshot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"syscall"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/digest"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// stamp changes whenever a file does: the kernel sets the time of its last change, and
// nobody can set that back. The number of the device is left out, as disks are numbered
// anew at each boot.
func stamp(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d.%09d", st.Ino, st.Ctim.Sec, st.Ctim.Nsec)
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
	m, dir, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var faults []errcode.Detail
	blame := func(what string, err error) {
		if err != nil {
			faults = append(faults, errcode.Detail{Field: what, Message: err.Error()})
		}
	}
	for _, p := range m.parts() {
		blame(p.name, p.file.unchanged(dir, p.name))
	}
	if len(faults) == 0 {
		blame(StateFile, s.stateHolds(ctx, dir, &m.State))
	}
	if m.Type == Diff {
		file, err := whole(dir)
		if err == nil && file != nil {
			err = file.unchanged(dir, mergedFile)
		}
		blame(mergedFile, err)
	}
	for i := range m.Drives {
		if d := &m.Drives[i]; d.Copy == "" {
			blame("drive "+d.ID, d.unchanged())
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, coded(ctx, opCheck, name, context.Cause(ctx))
	case len(faults) > 0:
		return nil, damaged(name, faults)
	}
	return m, nil
}

// damaged names the files that are not what they were.
func damaged(name string, faults []errcode.Detail) error {
	return &errcode.Error{
		Code: errcode.InvalidSnapshot, Op: opCheck, Subject: name, Details: faults,
		Hint: "smartvm snapshot verify " + name + " reads its files, and makes good what only looks changed",
	}
}

// note notes what a file is.
func (f *File) note(dir *os.Root, name string) error {
	info, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	f.Size, f.Stamp = info.Size(), stamp(info)
	return nil
}

func (f *File) unchanged(dir *os.Root, name string) error {
	info, err := dir.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errGone
	case err != nil:
		return err
	case info.Size() != f.Size:
		return fmt.Errorf("it has %d bytes, and had %d", info.Size(), f.Size)
	case stamp(info) != f.Stamp:
		return errReplaced
	}
	return nil
}

// stateHolds compares a state file with its hash. It is read once, as long as it stays
// the same.
func (s *Store) stateHolds(ctx context.Context, dir *os.Root, state *File) error {
	f, _, err := plainfile.OpenIn(dir, StateFile)
	if err != nil {
		return err
	}
	defer f.Close()
	hash, err := s.digests.SHA256(ctx, f)
	if err == nil && hash != state.SHA256 {
		err = otherContent(hash, state.SHA256)
	}
	return err
}

func otherContent(is, was string) error {
	return fmt.Errorf("its content was changed: it has the SHA-256 %s, and had %s", is, was)
}

func (d *Drive) unchanged() error {
	info, err := os.Stat(d.HostPath)
	switch {
	case err != nil:
		return err
	case d.File.Stamp == "":
		return fmt.Errorf("nobody has compared %s with what the VM had, as the snapshot is from elsewhere", d.HostPath)
	case info.Size() != d.File.Size || sharedStamp(info) != d.File.Stamp:
		return fmt.Errorf("%s was changed since", d.HostPath)
	}
	return nil
}

func hashOf(ctx context.Context, dir *os.Root, name string) (string, error) {
	f, _, err := plainfile.OpenIn(dir, name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return digest.Sum(ctx, f)
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
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
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
