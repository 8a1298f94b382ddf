// Package store keeps what the lab has built, each under a name that has the hash
// or the version of all that it was made of. An entry that exists is whole, and
// never changes.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/smartvm/smartvm/internal/filelock"
)

// Names in the store that are no entries.
const (
	lockName  = ".lock"
	newPrefix = ".new-"
)

const (
	// idle is how long an entry is kept after its last use, and a directory of somebody
	// who may have been killed. No lab runs that long, so that nobody needs a lock to
	// use one.
	idle = 24 * time.Hour
)

// Store is a directory of entries.
type Store struct{ dir string }

// Open makes the directory if it is missing.
func Open(dir string) (*Store, error) { return &Store{dir}, os.MkdirAll(dir, 0o755) } //nolint:gosec // nothing in it is a secret

// Dir returns the directory.
func (s *Store) Dir() string { return s.dir }

// Key returns a name for an entry of the kind that is made of these parts.
func Key(kind string, parts ...[]byte) string {
	hash := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256(p) // of each, so that their limits count
		_, _ = hash.Write(sum[:])
	}
	return kind + "-" + hex.EncodeToString(hash.Sum(nil))[:16]
}

// Ensure returns the path of an entry, a directory. If it is missing, fill gets an
// empty directory. Concurrent callers, also of other processes, wait for
// each other.
func (s *Store) Ensure(ctx context.Context, name string, fill func(dir string) error) (string, error) {
	path := filepath.Join(s.dir, name)
	if touch(path) {
		return path, nil
	}
	lock, err := s.lock(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = filelock.Close(lock) }()
	if touch(path) {
		return path, nil
	}
	draft, err := os.MkdirTemp(s.dir, newPrefix)
	if err != nil {
		return "", err
	}
	err = os.Chmod(draft, 0o755) //nolint:gosec // nothing in it is a secret, and others than root use it
	if err == nil {
		err = fill(draft)
	}
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(draft))
	}
	return path, nil
}

// touch reports whether there is such an entry, and notes that it is used.
func touch(path string) bool {
	now := time.Now()
	return os.Chtimes(path, now, now) == nil
}

func (s *Store) lock(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.Wait(ctx, f, filelock.Range{}, filelock.Exclusive); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Newest returns the entry of the kind that was used last, "" if there is none. That
// is a use.
func (s *Store) Newest(kind string) (string, error) {
	entries, err := os.ReadDir(s.dir)
	var newest string
	var used time.Time
	for _, e := range entries {
		info, gone := e.Info()
		if gone == nil && strings.HasPrefix(e.Name(), kind+"-") && info.ModTime().After(used) {
			newest, used = filepath.Join(s.dir, e.Name()), info.ModTime()
		}
	}
	if newest != "" && !touch(newest) {
		newest = "" // it has just been removed
	}
	return newest, err
}

// Prune removes entries that nobody has used for a day, and what killed builds have
// left.
func (s *Store) Prune(ctx context.Context) error {
	lock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = filelock.Close(lock) }()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, gone := e.Info()
		switch {
		case errors.Is(gone, fs.ErrNotExist) || e.Name() == lockName:
			continue
		case gone != nil:
			err = errors.Join(err, gone)
		case time.Since(info.ModTime()) > idle:
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, e.Name())))
		}
	}
	return err
}
