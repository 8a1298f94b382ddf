package ledger

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/proc"

	"golang.org/x/sys/unix"
)

// View is what a ledger says, read without owning it.
type View struct {
	Dir       string
	Owner     Owner // the last process that took it
	Owned     bool  // whether an owner is alive
	Created   time.Time
	Marks     map[string]time.Time
	Resources []Resource // what is recorded and not gone, oldest first

	about json.RawMessage
}

// About decodes the last description into value. Without one it does nothing.
func (v *View) About(value any) error {
	if len(v.about) == 0 {
		return nil
	}
	if err := json.Unmarshal(v.about, value); err != nil {
		return failure("read description", v.Dir, err)
	}
	return nil
}

// Read looks at the ledger of runtime/name. The error matches fs.ErrNotExist
// when there is none.
func Read(runtime, name string, kinds Kinds) (*View, error) {
	dir := filepath.Join(runtime, name)
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, failure("read ledger", dir, err)
	}
	defer f.Close()
	owned, err := filelock.Held(f, filelock.Range{})
	if err != nil {
		return nil, failure("read ledger", dir, err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, failure("read ledger", dir, err)
	}
	c, err := parse(data, kinds)
	if err != nil {
		return nil, failure("read ledger", dir, err)
	}
	return c.view(dir, owned), nil
}

// View returns what this ledger says now.
func (l *Ledger) View() *View {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view(l.dir, true)
}

func (c *contents) view(dir string, owned bool) *View {
	v := &View{Dir: dir, Owner: c.owner, Owned: owned, Created: c.created, Marks: maps.Clone(c.marks), about: c.about}
	for _, h := range c.resources {
		v.Resources = append(v.Resources, h.resource)
	}
	return v
}

// SameBoot reports whether the ledger was written since the host started.
// Otherwise no process and no kernel object in it can exist any more.
func (v *View) SameBoot() bool { return v.Owner.BootID == proc.BootID() }

// Names lists the directories below runtime that have a name of their own,
// sorted. A missing runtime directory has none.
func Names(runtime string) ([]string, error) {
	entries, err := os.ReadDir(runtime)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failure("list", runtime, err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Leftovers lists the directories that a kill left half made or half removed.
// They hold nothing but files.
func Leftovers(runtime string) ([]string, error) {
	entries, err := os.ReadDir(runtime)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failure("list", runtime, err)
	}
	var paths []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newPrefix) || strings.HasPrefix(e.Name(), gonePrefix) {
			paths = append(paths, filepath.Join(runtime, e.Name()))
		}
	}
	return paths, nil
}

// Sweep removes the leftovers and returns their paths. Directories that are being
// made at this moment it leaves alone, or their maker makes another one.
func Sweep(runtime string) ([]string, error) {
	paths, err := Leftovers(runtime)
	if err != nil {
		return nil, err
	}
	var swept []string
	var errs []error
	for _, p := range paths {
		gone, err := sweep(p)
		if gone {
			swept = append(swept, p)
		}
		errs = append(errs, err)
	}
	return swept, errors.Join(errs...)
}

// sweep removes one leftover, unless somebody has the lock of its ledger.
func sweep(dir string) (gone bool, err error) {
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR|unix.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sweepWithout(dir)
	case err != nil:
		return false, failure("sweep", dir, err)
	}
	defer f.Close()
	err = filelock.Try(f, filelock.Range{}, filelock.Exclusive)
	if errors.Is(err, filelock.ErrLocked) {
		return false, nil
	}
	if err == nil {
		err = os.RemoveAll(dir) // under the lock, which its maker can't take any more
	}
	if err != nil {
		return false, failure("sweep", dir, err)
	}
	return true, nil
}

// sweepWithout removes a leftover that has no ledger: not yet, so that it may be
// removed only if it is empty until the end, or not any more.
func sweepWithout(dir string) (gone bool, err error) {
	if strings.HasPrefix(filepath.Base(dir), gonePrefix) {
		err = os.RemoveAll(dir)
	} else if err = unix.Rmdir(dir); errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, failure("sweep", dir, err)
	}
	return true, nil
}
