package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// patience is how long processes may need to end when their context sets no limit. One
// that waits for a disk or a file server that does not answer never does.
const patience = 30 * time.Second

// Release kills what is in the group, waits until it has ended, and removes the group,
// and those of its parents that smartvm has made and nobody uses any more. It is
// done when there is no such group.
func (g *Group) Release(ctx context.Context) error {
	if g.BootID != proc.BootID() {
		return nil // groups do not outlive a boot
	}
	if err := checkParent(g.Path); err != nil {
		return err // nobody but New may have written the record
	}
	root, err := openTree(g.Mount)
	if err != nil {
		return fmt.Errorf("open cgroups %s: %w", g.Mount, err)
	}
	defer root.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := remove(ctx, root, g.Path); err != nil {
		return err
	}
	return g.removeParents(root)
}

// maxRemovals is how often processes may enter between their end and the removal.
const maxRemovals = 10

func remove(ctx context.Context, root *os.Root, path string) (err error) {
	for range maxRemovals {
		if err := kill(ctx, root, path); isGone(err) {
			return nil
		} else if err != nil {
			return err
		}
		if err := awaitEmpty(ctx, root, path); err != nil {
			return err
		}
		err = root.Remove(path)
		switch {
		case err == nil, isGone(err):
			return nil
		case !errors.Is(err, unix.EBUSY):
			return err
		}
	}
	return fmt.Errorf("something is in it again and again, or another group: %w", err)
}

// removeParents removes what is empty and ours, the innermost first. That somebody
// else has removed a parent, or uses it, is as good.
func (g *Group) removeParents(root *os.Root) error {
	for _, p := range slices.Backward(parents(g.Path)) {
		var err error
		ours := slices.Contains(g.Missing, p)
		if ours { // others may be in it by now, who know it by the mark only
			err = mark(root, p)
		} else {
			ours, err = isMarked(root, p)
		}
		if err == nil && ours {
			err = root.Remove(p)
		}
		switch {
		case isGone(err):
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOTEMPTY), err == nil && !ours:
			return nil
		case errors.Is(err, fs.ErrPermission): // it was made by another user
			return nil
		case err != nil:
			return fmt.Errorf("remove its parent %s: %w", p, err)
		}
	}
	return nil
}
