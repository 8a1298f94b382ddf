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

// Sweep removes the leftovers and returns their paths. It waits for directories
// that are being made at this moment, and does not touch them.
func Sweep(runtime string) ([]string, error) {
	if _, err := os.Stat(runtime); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	g, err := guard(runtime, unix.LOCK_EX)
	if err != nil {
		return nil, failure("sweep", runtime, err)
	}
	defer g.Close()
	paths, err := Leftovers(runtime)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, p := range paths {
		errs = append(errs, os.RemoveAll(p))
	}
	return paths, errors.Join(errs...)
}
