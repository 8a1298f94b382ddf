package jail

import (
	"errors"
	"os"
	"path/filepath"
)

// MakeLinks makes the links of a table without a jail.
func (t *Table) MakeLinks() error {
	for _, f := range t.Files {
		if err := t.Link(f); err != nil {
			return err
		}
	}
	return nil
}

// Link lets a Firecracker without a jail find a file by its name, if it has one. In one
// step it takes the place of what had the name before.
func (t *Table) Link(f File) error {
	if filepath.IsAbs(f.Inside) {
		return nil
	}
	name, target := f.Inside, f.Host
	if f.Access&Beside != 0 {
		name, target = filepath.Dir(name), filepath.Dir(target)
	}
	dir, err := os.OpenRoot(t.Links)
	if err != nil {
		return err
	}
	defer dir.Close()
	if parent := filepath.Dir(name); parent != "." {
		if err := dir.Mkdir(parent, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if err := dir.Symlink(target, name); !errors.Is(err, os.ErrExist) {
		return err
	}
	next := name + ".next"
	return errors.Join(dir.Symlink(target, next), dir.Rename(next, name))
}
