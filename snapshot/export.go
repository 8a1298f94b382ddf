package snapshot

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// ExportOptions say what [Store.Export] does. The zero value leaves out the drives that
// snapshots share.
type ExportOptions struct {
	// Drives puts the drives that are only read into the stream too. Where it is imported,
	// they are the snapshot's own. Default: the stream has their paths, sizes and hashes,
	// and whoever restores it has to have them there.
	Drives bool
	// Progress is told how many bytes of the files are done, and how many there are.
	// Default: nobody is.
	Progress func(done, total int64)
}

// Export writes a snapshot to w as one stream, which [Store.Import] reads. A diff becomes
// a full snapshot on the way.
//
// The stream is a tar in zstd: snapshot.json, with the SHA-256 of every file, then these
// files. Pages of zeros cost next to nothing. Everything is hashed once more while it is
// written: INVALID_SNAPSHOT if it is not what the snapshot was, and then the stream has no
// end, so that nobody takes it for whole.
//
// The stream has the guest's memory, with every secret in it, in the clear.
func (s *Store) Export(ctx context.Context, name string, w io.Writer, o ExportOptions) error {
	e := &export{ctx: ctx, options: o}
	defer e.close()
	if err := e.open(ctx, s, name); err != nil {
		return exportError(ctx, name, err)
	}
	if err := e.write(w); err != nil {
		return exportError(ctx, name, err)
	}
	return nil
}

func exportError(ctx context.Context, name string, err error) error {
	return &errcode.Error{Code: reason(ctx, err, errcode.SnapshotFailed), Op: opExport, Subject: name, Err: err}
}

// export is a stream that is being written.
type export struct {
	ctx      context.Context //nolint:containedctx // of the one call that it lives in: readers take none
	options  ExportOptions
	manifest Manifest // as it is in the stream
	files    map[string]*os.File
	done     int64
	total    int64
}

func (e *export) close() {
	for _, f := range e.files {
		_ = f.Close() // opened for reading
	}
}

// open opens all files before anything is written, so that a removal can't come between.
func (e *export) open(ctx context.Context, s *Store, name string) error {
	m, err := s.hashed(ctx, name)
	if err != nil {
		return err
	}
	dir, err := os.OpenRoot(s.Path(name))
	if err != nil {
		return broken(name, err)
	}
	defer dir.Close()
	e.manifest, e.files = *m, map[string]*os.File{}
	e.manifest.Drives = append([]Drive(nil), m.Drives...)
	memory := MemoryFile
	if m.Type == Diff {
		file, err := whole(dir)
		if err != nil || file == nil {
			return broken(name, errors.Join(errors.New("its memory is not merged"), err))
		}
		e.manifest.Type, e.manifest.Parent, e.manifest.Memory.File = Full, nil, *file
		memory = mergedFile
	}
	for i := range e.manifest.Drives {
		d := &e.manifest.Drives[i]
		if d.Copy != "" || !e.options.Drives {
			continue
		}
		d.Copy = DiskFile(d.ID)
		if e.files[d.Copy], err = openShared(d.HostPath); err != nil {
			return err
		}
	}
	for _, p := range e.manifest.parts() {
		e.total += p.file.Size
		if e.files[p.name] != nil {
			continue
		}
		from := p.name
		if from == MemoryFile {
			from = memory
		}
		if e.files[p.name], _, err = plainfile.OpenIn(dir, from); err != nil {
			return broken(name, err)
		}
	}
	e.manifest.forget()
	if faults := e.manifest.ofOneHost(); len(faults) > 0 {
		return &errcode.Error{Code: errcode.InvalidConfig, Op: "read manifest", Subject: name, Details: faults, Hint: "such a VM can be restored on this host only"}
	}
	return nil
}

// hashed returns the manifest of a snapshot whose files have hashes, and of a diff with
// its memory merged.
func (s *Store) hashed(ctx context.Context, name string) (*Manifest, error) {
	m, err := s.Check(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, err := s.Memory(ctx, m); err != nil {
		return nil, err
	}
	all := true
	for _, p := range m.parts() {
		all = all && p.file.SHA256 != ""
	}
	for _, d := range m.Drives {
		all = all && d.File.SHA256 != ""
	}
	if m.Type == Diff {
		file, err := s.wholeOf(name)
		if err != nil {
			return nil, err
		}
		all = all && file != nil && file.SHA256 != ""
	}
	if all {
		return m, nil
	}
	return s.Verify(ctx, name)
}

// forget drops what is about files of this host only.
func (m *Manifest) forget() {
	m.State.Stamp, m.Memory.Stamp = "", ""
	for i := range m.Drives {
		m.Drives[i].File.Stamp = ""
	}
}

func (e *export) write(w io.Writer) error {
	// Memory and disks change hands on local networks, which the fastest level can fill.
	packed, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	archive := tar.NewWriter(packed)
	if err := e.fill(archive); err != nil {
		packed.Reset(nil) // its end is not written
		return err
	}
	return errors.Join(archive.Close(), packed.Close())
}

func (e *export) fill(archive *tar.Writer) error {
	data, err := json.MarshalIndent(&e.manifest, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if err := archive.WriteHeader(e.header(ManifestFile, int64(len(data)))); err != nil {
		return err
	}
	if _, err := archive.Write(data); err != nil {
		return err
	}
	for _, p := range e.manifest.parts() {
		if err := e.add(archive, p.name, p.file); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// header is the same each time, so that a stream is, too.
func (e *export) header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: e.manifest.CreatedAt, Format: tar.FormatPAX}
}

func (e *export) add(archive *tar.Writer, part string, file *File) error {
	if err := archive.WriteHeader(e.header(part, file.Size)); err != nil {
		return err
	}
	hash := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(archive, hash), &followed{e: e, r: io.LimitReader(e.files[part], file.Size)}, make([]byte, 1<<20))
	switch is := hex.EncodeToString(hash.Sum(nil)); {
	case err != nil:
		return err
	case n != file.Size:
		return changed(fmt.Errorf("it has %d bytes, and had %d", n, file.Size))
	case is != file.SHA256:
		return changed(otherContent(is, file.SHA256))
	}
	return nil
}

func changed(err error) error {
	return &errcode.Error{Code: errcode.InvalidSnapshot, Op: "read file", Err: err}
}

// followed reads a file, as long as somebody wants that, and tells how far it is.
type followed struct {
	e *export
	r io.Reader
}

// Read implements io.Reader.
func (f *followed) Read(p []byte) (int, error) {
	if f.e.ctx.Err() != nil {
		return 0, context.Cause(f.e.ctx)
	}
	n, err := f.r.Read(p)
	f.e.done += int64(n)
	if f.e.options.Progress != nil {
		f.e.options.Progress(f.e.done, f.e.total)
	}
	return n, err
}
