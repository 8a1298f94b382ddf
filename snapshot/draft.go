package snapshot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// Draft is a snapshot that is being made. It belongs to one goroutine, and has to be
// committed or discarded; the draft of a process that was killed goes with the next one.
type Draft struct {
	store *Store
	name  string // that it will have
	temp  string // that its directory has
	alive *os.File
}

// aliveName is the file in a draft that its maker has a lock on.
const aliveName = ".alive"

// Draft begins a snapshot: SNAPSHOT_EXISTS, INVALID_CONFIG for a name that can't be one.
func (s *Store) Draft(ctx context.Context, name string) (*Draft, error) {
	if err := checkName(name); err != nil {
		return nil, &errcode.Error{Code: errcode.InvalidConfig, Op: "make snapshot", Details: []errcode.Detail{{Field: "name", Message: err.Error()}}}
	}
	d := &Draft{store: s, name: name, temp: newPrefix + rand.Text()}
	if err := s.sweep(ctx); err != nil {
		return nil, noSpace(err)
	}
	err := s.change(ctx, func(dir *os.Root) (err error) {
		if _, err := dir.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, exists(name))
		}
		d.alive, err = makeDraft(dir, d.temp)
		return err
	})
	if err != nil {
		return nil, noSpace(err)
	}
	fault.Point("snapshot: draft made")
	return d, nil
}

func makeDraft(dir *os.Root, temp string) (alive *os.File, err error) {
	if err := dir.Mkdir(temp, 0o700); err != nil {
		return nil, err
	}
	if alive, err = dir.OpenFile(filepath.Join(temp, aliveName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, errors.Join(err, dir.RemoveAll(temp))
	}
	if err := filelock.Try(alive, filelock.Range{}, filelock.Exclusive); err != nil {
		return nil, errors.Join(err, alive.Close(), dir.RemoveAll(temp))
	}
	return alive, nil
}

func exists(name string) error {
	return &errcode.Error{
		Code: errcode.SnapshotExists, Op: "make snapshot", Subject: name, Err: errors.New("there is a snapshot of that name"),
		Hint: "choose another name, or remove that one: smartvm snapshot rm " + name,
	}
}

// sweep removes what killed processes have left. It looks for that while the store is
// locked, so that no draft is without its maker's lock yet, and removes it when others can
// go on: a memory file takes a while, and its directory's name is never used again.
func (s *Store) sweep(ctx context.Context) error {
	var left []string
	err := s.change(ctx, func(dir *os.Root) error {
		names, err := plainfile.NamesIn(dir)
		for _, name := range names {
			if (strings.HasPrefix(name, newPrefix) || strings.HasPrefix(name, gonePrefix)) && !isAlive(dir, name) {
				left = append(left, name)
			}
		}
		return err
	})
	for _, name := range left {
		path := filepath.Join(s.opts.Dir, name)
		if err := os.RemoveAll(path); err != nil {
			s.opts.Logger.Warn("what is left of a snapshot can't be removed", slog.String("path", path), slog.Any("err", err))
		}
	}
	return err
}

func isAlive(dir *os.Root, draft string) bool {
	f, err := dir.OpenFile(filepath.Join(draft, aliveName), os.O_RDWR, 0)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) // one that can't be asked may be alive
	}
	defer f.Close()
	held, err := filelock.Held(f, filelock.Range{})
	return held || err != nil
}

// Dir is where the files of the draft go.
func (d *Draft) Dir() string { return filepath.Join(d.store.opts.Dir, d.temp) }

// Path is where a file of the draft goes.
func (d *Draft) Path(name string) string { return filepath.Join(d.Dir(), name) }

// Commit gives the draft its name. m says what its files are; the rest is filled in. The
// files are private, read-only and on the disk when it returns. On an error the draft is
// still to be discarded.
func (d *Draft) Commit(ctx context.Context, m Manifest) (*Manifest, error) {
	m.SchemaVersion, m.Name, m.ID = SchemaVersion, d.name, rand.Text()
	dir, err := os.OpenRoot(d.Dir())
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := d.finish(ctx, dir, &m); err != nil {
		if err = coded(ctx, opFinish, d.name, err); errors.Is(err, errcode.Cancelled) {
			return nil, err
		}
		return nil, fmt.Errorf("%s %s: %w", opFinish, d.name, noSpace(err))
	}
	fault.Point("snapshot: finished")
	if err := d.store.change(ctx, func(store *os.Root) error { return d.appear(store, &m) }); err != nil {
		return nil, noSpace(err)
	}
	return &m, filelock.Close(d.alive)
}

// appear gives the draft its name while the store is locked.
func (d *Draft) appear(store *os.Root, m *Manifest) error {
	if m.Type == Diff {
		if parent, err := read(store, m.Parent.Name); err != nil {
			return err
		} else if parent.ID != m.Parent.ID {
			return notFound(m.Parent.Name)
		}
	}
	root, err := store.Open(".")
	if err != nil {
		return err
	}
	defer root.Close()
	// Not before: without it the draft is anybody's to sweep away.
	if err := store.Remove(filepath.Join(d.temp, aliveName)); err != nil {
		return err
	}
	err = unix.Renameat2(int(root.Fd()), d.temp, int(root.Fd()), d.name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		return exists(d.name)
	}
	if err != nil {
		return os.NewSyscallError("renameat2", err)
	}
	fault.Point("snapshot: named")
	return root.Sync()
}

// finish closes the files to writers, says what they are and writes the manifest.
func (d *Draft) finish(ctx context.Context, dir *os.Root, m *Manifest) error {
	for _, p := range m.parts() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := seal(dir, p.name, p.file); err != nil {
			return err
		}
	}
	var err error
	if m.State.SHA256, err = hashOf(ctx, dir, StateFile); err != nil {
		return err
	}
	if m.Format, err = formatOf(dir); err != nil {
		return err
	}
	for i := range m.Drives {
		if drive := &m.Drives[i]; drive.Copy == "" && drive.File.SHA256 == "" { // else it is known from elsewhere
			if err := stampShared(drive); err != nil {
				return err
			}
		}
	}
	if faults := m.mistakes(); len(faults) > 0 {
		return &errcode.Error{Code: errcode.InvalidSnapshot, Op: "write manifest", Subject: m.Name, Details: faults}
	}
	return writeRecord(dir, ManifestFile, m)
}

// fileMode is that of what is mapped and read by VMs. The users of jails, who have nothing
// of the store but these files, need no mapping of their owner then; nobody else gets into
// the store's directory.
const fileMode = 0o444

// seal makes a file of a snapshot unwritable and durable, and notes what it is.
func seal(dir *os.Root, name string, file *File) error {
	f, _, err := plainfile.OpenIn(dir, name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := errors.Join(f.Chmod(fileMode), f.Sync()); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	file.Size, file.Stamp = info.Size(), stamp(info)
	return nil
}

// Discard gives a draft up. After Commit it does nothing.
func (d *Draft) Discard() error {
	_ = filelock.Close(d.alive)
	return os.RemoveAll(d.Dir())
}
