package snapshot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/digest"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/privdir"
	"github.com/smartvm/smartvm/internal/stage"
)

// Options are the options of [Open]. Only Dir is required.
type Options struct {
	// Dir is the directory of the store. It is made when a snapshot is, with mode 0700, and
	// must belong to this user alone.
	Dir string
	// Logger is told what was left by others and removed. Nil discards.
	Logger *slog.Logger
}

// Store is a directory of snapshots that several processes may share. It is safe for
// concurrent use.
//
//	<name>/snapshot.json    the manifest
//	<name>/state            what Firecracker knows of its devices and vCPUs
//	<name>/memory           the guest's memory; that of a diff has holes
//	<name>/memory.whole     that of a diff over its parents, once it was needed; .merged has
//	                        its stamp
//	<name>/disk-<drive>     a copy of a drive that the guest could write
//	<name>/uses/<hash>      pins: each names the directory of its holder
//	.lock                   held while names come, go or are pinned
//	.new-<random>           a snapshot that is being made, with a lock of its maker's
//	.gone-<random>          one that is being removed
//
// A snapshot appears and disappears by a rename of its whole directory.
type Store struct {
	opts    Options
	space   stage.Space
	digests digest.Memory // of states, which are looked at for each VM of a snapshot
	turn    sync.Mutex    // of this process, before the lock of all
}

// Open returns the store of a directory. It touches nothing on the disk.
func Open(opts Options) (*Store, error) {
	if opts.Dir == "" {
		return nil, &errcode.Error{Code: errcode.InvalidConfig, Op: "open snapshots", Details: []errcode.Detail{{Field: "dir", Message: "it is required"}}}
	}
	abs, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, &errcode.Error{Code: errcode.InvalidConfig, Op: "open snapshots", Subject: opts.Dir, Err: err}
	}
	opts.Dir = abs
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Store{opts: opts}, nil
}

// Dir returns the directory of the store.
func (s *Store) Dir() string { return s.opts.Dir }

// Path returns the directory of a snapshot.
func (s *Store) Path(name string) string { return filepath.Join(s.opts.Dir, name) }

const (
	lockName   = ".lock"
	newPrefix  = ".new-"
	gonePrefix = ".gone-"
)

// change calls do while nobody else changes which snapshots there are or who uses them.
// do has to be short.
func (s *Store) change(ctx context.Context, do func(dir *os.Root) error) error {
	private, err := privdir.Ensure(s.opts.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = private.Close() }()
	s.turn.Lock()
	defer s.turn.Unlock()
	dir, err := os.OpenRoot(private.Path())
	if err != nil {
		return err
	}
	defer dir.Close()
	lock, err := dir.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = filelock.Close(lock) }()
	if err := filelock.Wait(ctx, lock, filelock.Range{}, filelock.Exclusive); err != nil {
		return coded(ctx, "lock snapshots", s.opts.Dir, err)
	}
	return do(dir)
}

// look opens the store to read. Without one the error matches fs.ErrNotExist.
func (s *Store) look() (*os.Root, error) {
	private, err := privdir.Open(s.opts.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = private.Close() }()
	return os.OpenRoot(private.Path())
}

// List returns the manifests of all snapshots, sorted by name. Those that can't be read
// are left out, and the log is told.
func (s *Store) List() ([]*Manifest, error) {
	dir, err := s.look()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := plainfile.NamesIn(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []*Manifest
	for _, name := range names {
		if checkName(name) != nil { // nothing of ours, such as lost+found
			continue
		}
		m, err := read(dir, name)
		if err != nil {
			s.opts.Logger.Warn("a snapshot can't be read", slog.String("snapshot", name), slog.Any("err", err))
			continue
		}
		all = append(all, m)
	}
	return all, nil
}

// Get returns the manifest of a snapshot: SNAPSHOT_NOT_FOUND, INVALID_SNAPSHOT.
func (s *Store) Get(name string) (*Manifest, error) {
	dir, err := s.look()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return read(dir, name)
}

// open returns the manifest of a snapshot, and its directory.
func (s *Store) open(name string) (*Manifest, *os.Root, error) {
	m, err := s.Get(name)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.OpenRoot(s.Path(name))
	if err != nil {
		return nil, nil, broken(name, err)
	}
	return m, dir, nil
}

func read(dir *os.Root, name string) (*Manifest, error) {
	data, err := readText(dir, name)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(data)
	if err == nil && m.Name != name {
		err = errors.New("the manifest says that it is " + m.Name)
	}
	if err != nil {
		return nil, broken(name, err)
	}
	return m, nil
}

// readID reads which snapshot has a name, and leaves out what read finds out about it: the
// manifest is read no further than to its id, which stands at its beginning.
func readID(dir *os.Root, name string) (id string, err error) {
	f, err := openManifest(dir, name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text := json.NewDecoder(io.LimitReader(f, maxManifest))
	_, err = text.Token() // the brace
	for err == nil && text.More() {
		var key json.Token
		var other json.RawMessage
		if key, err = text.Token(); err != nil {
			break
		}
		if key == "id" {
			if err = text.Decode(&id); err == nil {
				return id, nil
			}
			break
		}
		err = text.Decode(&other)
	}
	return "", broken(name, cmp.Or(err, errors.New("the manifest has no id")))
}

// openManifest opens the manifest of a snapshot. Its error needs nothing added.
func openManifest(dir *os.Root, name string) (*os.File, error) {
	if err := checkName(name); err != nil {
		return nil, &errcode.Error{Code: errcode.SnapshotNotFound, Op: "find snapshot", Subject: name, Err: err}
	}
	f, _, err := plainfile.OpenIn(dir, filepath.Join(name, ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, broken(name, err)
	}
	return f, nil
}

func readText(dir *os.Root, name string) ([]byte, error) {
	f, err := openManifest(dir, name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, broken(name, err)
	}
	if len(data) > maxManifest {
		return nil, broken(name, errors.New("the manifest is too long"))
	}
	return data, nil
}

func notFound(name string) error {
	return &errcode.Error{
		Code: errcode.SnapshotNotFound, Op: "find snapshot", Subject: name, Err: errors.New("there is no snapshot of that name"),
		Hint: "smartvm snapshot ls lists them; is it the same data directory (SMARTVM_DATA_DIR)?",
	}
}

func broken(name string, err error) error {
	return &errcode.Error{
		Code: errcode.InvalidSnapshot, Op: "read snapshot", Subject: name, Err: err,
		Hint: "smartvm snapshot verify " + name + " tells whether its content is what it was; remove it if not",
	}
}

// Occupied returns how many bytes of the disk a snapshot's files take.
func (s *Store) Occupied(name string) (int64, error) {
	dir, err := s.look()
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	var bytes int64
	err = fs.WalkDir(dir.FS(), name, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			const block = 512 // of st_blocks, whatever the file system's are
			bytes += st.Blocks * block
		}
		return nil
	})
	return bytes, err
}
