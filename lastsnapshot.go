package smartvm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/snapshot"
)

// lastSnapshot is the one that a VM's next diff follows. It is in a file, because it may
// be another process that takes that.
type lastSnapshot struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

const lastSnapshotName = "last-snapshot.json"

// rememberSnapshot notes which snapshot the VM's memory is compared with from now on;
// nil for one that is in no store.
func (v *VM) rememberSnapshot(last *lastSnapshot) error {
	path := filepath.Join(v.Dir(), lastSnapshotName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if last == nil {
		return nil
	}
	return writeFirst(path, last)
}

// findBase finds the snapshot that a diff follows.
func (c *capture) findBase(ctx context.Context) error {
	v := c.vm
	config, err := c.client.MachineConfig(ctx)
	if err == nil {
		err = v.tracksDirtyPages(config)
	}
	if err != nil {
		return err
	}
	var base lastSnapshot
	err = readJSON(filepath.Join(v.Dir(), lastSnapshotName), &base)
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{
			Code: errcode.InvalidConfig, Op: string(opSnapshot), Subject: string(v.id), Err: errors.New("a diff needs a snapshot that it follows, and this VM has none"),
			Hint: "take a full snapshot first; one by CreateSnapshot does not count, because it is in no store",
		}
	}
	if err != nil {
		return err
	}
	parent, err := v.manager.snapshots.Get(base.Name)
	if err != nil {
		return err
	}
	if parent.ID != base.ID {
		return &Error{
			Code: errcode.InvalidSnapshot, Op: string(opSnapshot), Subject: base.Name, Err: errors.New("it is another one than the diff would follow, under the same name"),
			Hint: "take a full snapshot",
		}
	}
	c.about.Type, c.about.Parent = snapshot.Diff, &snapshot.Parent{Name: base.Name, ID: base.ID}
	return nil
}
