package snapshot

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/smartvm/smartvm/errcode"
)

// Limits of what is imported. They are far above what there is, and keep whoever made a
// stream from choosing them.
const (
	maxState  = 64 << 20 // Firecracker reads no more than 10 MB
	maxFile   = 64 << 40 // of memory or a disk
	maxWindow = 8 << 20  // bytes that the unpacking remembers; zstd's own levels need no more
	// maxTail is what may follow the end of a tar: padding of its last record.
	maxTail = 64 << 10
)

// Import makes a snapshot of a stream that [Store.Export] has written. name is the one
// that it gets; "" stands for the one in the stream. It is in the store when all of it has
// been read and is, by its hashes, what was exported; before that, and on any error,
// nothing is.
//
// A drive that is not in the stream has to be on this host, at its old path and with its
// old content. Import compares that. Where it is missing, the log is told, and
// [Store.Check] refuses the snapshot until it has been put there and [Store.Verify] has
// seen it.
//
// Hashes prove that a stream is what its maker wrote, and nothing about the maker. What a
// snapshot says, Firecracker believes; import what you would run.
//
// Errors: SNAPSHOT_EXISTS; INVALID_SNAPSHOT for a stream that is cut short or is no such
// thing; NO_SPACE.
func (s *Store) Import(ctx context.Context, r io.Reader, name string) (*Manifest, error) {
	in := &source{ctx: ctx, r: r}
	m, err := s.unpack(ctx, in, name)
	if err == nil {
		return m, nil
	}
	code := errcode.InvalidSnapshot
	if in.err != nil { // the stream could not be read at all
		err, code = in.err, errcode.SnapshotFailed
	}
	return nil, &errcode.Error{Code: reason(ctx, err, code), Op: opImport, Subject: name, Err: err}
}

// source is the stream. It remembers why it could not be read, which the unpacking
// would hide.
type source struct {
	ctx context.Context //nolint:containedctx // of the one call that it lives in: readers take none
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		s.err = context.Cause(s.ctx)
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (s *Store) unpack(ctx context.Context, in io.Reader, name string) (*Manifest, error) {
	plain, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	archive := tar.NewReader(plain)
	m, err := readManifest(archive)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = m.Name
	}
	draft, err := s.Draft(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := draft.receive(ctx, archive, m); err != nil {
		return nil, errors.Join(err, draft.Discard())
	}
	if err := end(archive, plain); err != nil {
		return nil, errors.Join(err, draft.Discard())
	}
	s.findShared(ctx, m)
	m, err = draft.Commit(ctx, *m)
	if err != nil {
		return nil, errors.Join(err, draft.Discard())
	}
	return m, nil
}

// readManifest reads the first member of a stream, which says what the others are.
func readManifest(archive *tar.Reader) (*Manifest, error) {
	h, err := next(archive, ManifestFile)
	if err != nil {
		return nil, err
	}
	if h.Size > maxManifest {
		return nil, errors.New("its manifest is too long")
	}
	data, err := io.ReadAll(archive)
	if err != nil {
		return nil, cut(err)
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, err
	}
	if faults := m.unfit(); len(faults) > 0 {
		return nil, &errcode.Error{Code: errcode.InvalidSnapshot, Op: "read manifest", Details: faults}
	}
	m.forget()
	return m, nil
}

// unfit says what a manifest lacks or has too much of for a stream.
func (m *Manifest) unfit() (faults []errcode.Detail) {
	add := func(field, message string) {
		faults = append(faults, errcode.Detail{Field: field, Message: message})
	}
	if m.Type != Full {
		add("type", "a stream has full snapshots only")
	}
	check := func(field string, f File, most int64) {
		if f.Size > most {
			add(field+".size", fmt.Sprintf("it is more than %d bytes", most))
		}
		if f.SHA256 == "" {
			add(field+".sha256", "it is required in a stream")
		}
	}
	check("state", m.State, maxState)
	check("memory", m.Memory.File, maxFile)
	for i, d := range m.Drives {
		check(fmt.Sprintf("drives[%d].file", i), d.File, maxFile)
	}
	return append(faults, m.ofOneHost()...)
}

// ofOneHost says what of a VM is its host's, and means nothing, or something else, on
// another one.
func (m *Manifest) ofOneHost() (faults []errcode.Detail) {
	add := func(field, what string) {
		faults = append(faults, errcode.Detail{Field: "vmConfig." + field, Message: "a stream has no " + what})
	}
	d, err := m.devices()
	if err != nil {
		return []errcode.Detail{{Field: "vmConfig", Message: err.Error()}}
	}
	if len(d.Pmem) > 0 {
		add("pmem", "persistent memory")
	}
	for i, dr := range d.Drives {
		if dr.Socket != "" {
			add(fmt.Sprintf("drives[%d].socket", i), "drive that another program serves")
		}
	}
	for i, n := range d.Interfaces {
		if n.HostDevice != "" {
			add(fmt.Sprintf("network-interfaces[%d].host_dev_name", i), "TAP by name; leave that to smartvm")
		}
	}
	if d.Jail.NetNS != "" {
		add("jail.netns", "network namespace by name")
	}
	return faults
}

// next goes to the next member, which has to be a file of that name.
func next(archive *tar.Reader, name string) (*tar.Header, error) {
	h, err := archive.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errCut
	case err != nil:
		return nil, cut(err)
	case h.Name != name || h.Typeflag != tar.TypeReg:
		return nil, fmt.Errorf("it has %q where %s should be", h.Name, name)
	}
	return h, nil
}

var errCut = errors.New("the stream is cut short")

// cut says it in one way.
func cut(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	case errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, tar.ErrHeader):
		return errors.New("it is no stream of snapshot export")
	}
	return err
}

// receive writes the files of a stream into the draft.
func (d *Draft) receive(ctx context.Context, archive *tar.Reader, m *Manifest) error {
	dir, err := os.OpenRoot(d.Dir())
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, p := range m.parts() {
		h, err := next(archive, p.name)
		if err != nil {
			return err
		}
		if h.Size != p.file.Size {
			return fmt.Errorf("%s has %d bytes, and its manifest says %d", p.name, h.Size, p.file.Size)
		}
		if err := writeSparse(ctx, dir, p.name, archive, p.file); err != nil {
			return fmt.Errorf("%s: %w", p.name, noSpace(cut(err)))
		}
	}
	return nil
}

// end sees to it that nothing but padding is left. Behind that zstd has its checksum.
func end(archive *tar.Reader, plain io.Reader) error {
	switch h, err := archive.Next(); {
	case err == nil:
		return fmt.Errorf("it has %q, of which its manifest does not know", h.Name)
	case !errors.Is(err, io.EOF):
		return cut(err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(plain, maxTail+1))
	switch {
	case err != nil:
		return cut(err)
	case n > maxTail:
		return errors.New("it goes on after its end")
	}
	return nil
}

// findShared looks for the drives that are not in the stream.
func (s *Store) findShared(ctx context.Context, m *Manifest) {
	for i := range m.Drives {
		d := &m.Drives[i]
		if d.Copy != "" {
			continue
		}
		if err := d.proveShared(ctx); err != nil {
			s.opts.Logger.Warn("a drive of the snapshot is not here", slog.String("snapshot", m.Name),
				slog.String("drive", d.ID), slog.String("path", d.HostPath), slog.Any("err", err))
		}
	}
}
