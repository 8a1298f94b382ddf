package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/internal/plainfile"
)

const (
	draftPrefix = ".new-"
	// draftLock is held shared by whoever makes a file in the directory, so that one
	// who gets it alone knows that drafts belong to nobody.
	draftLock = ".lock"
)

var errExists = errors.New("there is a file of that name")

// makeFile makes the file name in dir, which must not exist, by filling a draft
// of another name, which must not exist either. It gets its name when its content
// has reached the disk.
func makeFile(ctx context.Context, dir *os.Root, name string, fill func(draft string) error) (err error) {
	guard, err := openLock(dir, draftLock)
	if err != nil {
		return err
	}
	defer func() { _ = filelock.Close(guard) }()
	if err := sweep(dir, guard); err != nil {
		return err
	}
	if err := filelock.Wait(ctx, guard, filelock.Range{}, filelock.Shared); err != nil {
		return err
	}
	if there, err := exists(dir, name); there || err != nil {
		return errors.Join(err, errExists)
	}
	draft := draftPrefix + rand.Text()
	defer func() {
		if gone := dir.Remove(draft); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	if err := fill(draft); err != nil {
		return err
	}
	fault.Point("draft: filled")
	if err := plainfile.SyncIn(dir, draft); err != nil {
		return err
	}
	// A second name, since a rename would replace a file that came meanwhile.
	if err := dir.Link(draft, name); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return errExists
		}
		return fmt.Errorf("give the file its name: %w", err)
	}
	fault.Point("draft: named")
	return plainfile.SyncIn(dir, ".")
}

// sweep removes the drafts of processes that were killed, unless somebody is at
// work.
func sweep(dir *os.Root, guard *os.File) error {
	err := filelock.Try(guard, filelock.Range{}, filelock.Exclusive)
	if errors.Is(err, filelock.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := plainfile.NamesIn(dir)
	for _, name := range names {
		if strings.HasPrefix(name, draftPrefix) {
			err = errors.Join(err, dir.RemoveAll(name))
		}
	}
	return err
}

// exists reports whether there is anything of that name, be it a dangling link.
func exists(dir *os.Root, name string) (bool, error) {
	_, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
