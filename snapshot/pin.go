package snapshot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/pin"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// usesName is the directory of pins.
const usesName = "uses"

// Pin keeps a snapshot in the store as long as its holder exists, whatever becomes of the
// process that made it.
type Pin struct {
	Snapshot string `json:"snapshot"`
	Holder   string `json:"holder"` // the absolute path of a directory
	Path     string `json:"path"`   // the file that says so: see [Store.Pin]
}

// Pin returns the pin of a snapshot for a holder, which [Store.Use] makes. It can be
// recorded before.
func (s *Store) Pin(name, holder string) Pin {
	return Pin{Snapshot: name, Holder: holder, Path: filepath.Join(s.opts.Dir, name, usesName, pin.Name(holder))}
}

// Release gives the pin up. It may be called again.
func (p Pin) Release() error {
	if err := os.Remove(p.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Use makes a pin, of the snapshot that has the id: SNAPSHOT_NOT_FOUND if it was removed
// meanwhile.
func (s *Store) Use(ctx context.Context, p Pin, id string) error {
	return s.change(ctx, func(dir *os.Root) error {
		there, err := readID(dir, p.Snapshot)
		if err != nil {
			return err
		}
		if there != id {
			return notFound(p.Snapshot)
		}
		return p.write(dir)
	})
}

// write makes the file of a pin, in the place of one that is there.
func (p Pin) write(dir *os.Root) error {
	uses := filepath.Join(p.Snapshot, usesName)
	name := filepath.Join(uses, filepath.Base(p.Path))
	create := func() (*os.File, error) { return dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) }
	f, err := create()
	inTheWay := err
	switch {
	case errors.Is(inTheWay, fs.ErrNotExist): // it is the first
		err = dir.Mkdir(uses, 0o700)
	case errors.Is(inTheWay, fs.ErrExist):
		err = dir.Remove(name)
	}
	if inTheWay != nil && err == nil {
		f, err = create()
	}
	if err != nil {
		return noSpace(err)
	}
	_, err = f.WriteString(p.Holder)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(noSpace(err), dir.Remove(name)) // half a path may be that of another directory
	}
	return nil
}

// holders are the directories that use a snapshot and still exist.
func holders(dir *os.Root, name string) ([]string, error) {
	uses, err := dir.OpenRoot(filepath.Join(name, usesName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer uses.Close()
	names, err := plainfile.NamesIn(uses)
	if err != nil {
		return nil, err
	}
	var live []string
	for _, n := range names {
		holder, err := uses.ReadFile(n)
		if err == nil && pin.Holds(n, string(holder)) {
			live = append(live, string(holder))
		}
	}
	return live, nil
}

// Users returns the holders of a snapshot's pins.
func (s *Store) Users(name string) ([]string, error) {
	dir, err := s.look()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return holders(dir, name)
}

// Remove removes a snapshot: SNAPSHOT_IN_USE while a VM maps its memory, or while a diff
// needs it whose memory was never merged.
func (s *Store) Remove(ctx context.Context, name string) error {
	if err := s.sweep(ctx); err != nil {
		return err
	}
	gone := ""
	err := s.change(ctx, func(dir *os.Root) error {
		if err := checkName(name); err != nil {
			return notFound(name)
		}
		if _, err := dir.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return notFound(name)
		}
		if err := mayRemove(dir, name); err != nil {
			return err
		}
		gone = gonePrefix + rand.Text()
		return dir.Rename(name, gone)
	})
	if err != nil {
		return err
	}
	fault.Point("snapshot: gone")
	return os.RemoveAll(filepath.Join(s.opts.Dir, gone))
}

func mayRemove(dir *os.Root, name string) error {
	inUse := &errcode.Error{Code: errcode.SnapshotInUse, Op: "remove snapshot", Subject: name}
	live, err := holders(dir, name)
	if err != nil {
		return err
	}
	if len(live) > 0 {
		inUse.Err = fmt.Errorf("%d VMs map its memory, such as %s", len(live), filepath.Base(live[0]))
		inUse.Hint = "clean them up first: smartvm rm"
		return inUse
	}
	children, err := unmerged(dir, name)
	if err != nil {
		return err
	}
	if len(children) > 0 {
		inUse.Err = fmt.Errorf("diffs follow it: %s", strings.Join(children, ", "))
		inUse.Hint = "remove them first, or make them whole: smartvm snapshot merge " + strings.Join(children, " ")
		return inUse
	}
	return nil
}

// unmerged are the diffs that need a snapshot to have their whole memory.
func unmerged(dir *os.Root, parent string) ([]string, error) {
	names, err := plainfile.NamesIn(dir)
	if err != nil {
		return nil, err
	}
	var id string
	if m, err := read(dir, parent); err == nil { // else only the name is known
		id = m.ID
	}
	var children []string
	for _, name := range names {
		m, err := read(dir, name)
		if err != nil || m.Type != Diff || m.Parent.Name != parent || id != "" && m.Parent.ID != id {
			continue
		}
		if merged, err := isWhole(dir, name); err != nil || !merged {
			children = append(children, name)
		}
	}
	slices.Sort(children)
	return children, nil
}

func isWhole(store *os.Root, name string) (bool, error) {
	dir, err := store.OpenRoot(name)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	file, err := whole(dir)
	return file != nil, err
}
