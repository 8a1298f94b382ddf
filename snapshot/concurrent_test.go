package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/snapshot"
)

// take makes a snapshot with nothing in it.
func take(ctx context.Context, s *snapshot.Store, name string) (*snapshot.Manifest, error) {
	d, err := s.Draft(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, part := range []string{snapshot.StateFile, snapshot.MemoryFile} {
		if err := os.WriteFile(d.Path(part), []byte("the "+part), 0o600); err != nil {
			return nil, err
		}
	}
	m, err := d.Commit(ctx, snapshot.Manifest{Type: snapshot.Full, FirecrackerVersion: firecracker.Version{Major: 1}, VMConfig: []byte("{}")})
	if err != nil {
		return nil, errors.Join(err, d.Discard())
	}
	return m, nil
}

// at calls do from n places, each of which has opened the store for itself.
func at(t *testing.T, dir string, n int, do func(i int, s *snapshot.Store)) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		s := open(t, dir)
		all.Go(func() { do(i, s) })
	}
	all.Wait()
}

func TestOneOfManyDraftsOfANameIsCommitted(t *testing.T) {
	t.Parallel()
	s := store(t)
	for round := range 5 {
		name := fmt.Sprint("s", round)
		var mu sync.Mutex
		var won []*snapshot.Manifest
		at(t, s.Dir(), 8, func(_ int, s *snapshot.Store) {
			m, err := take(t.Context(), s, name)
			if err != nil {
				wantOneOf(t, err, errcode.SnapshotExists)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			won = append(won, m)
		})
		if len(won) != 1 {
			t.Fatalf("%d drafts were committed", len(won))
		}
		if m, err := s.Check(t.Context(), name); err != nil || m.ID != won[0].ID {
			t.Errorf("got %+v, %v, want %s", m, err, won[0].ID)
		}
	}
}

// wantOneOf is wantCode for other goroutines than the test's.
func wantOneOf(t *testing.T, err error, codes ...errcode.Code) {
	t.Helper()
	for _, c := range codes {
		if errors.Is(err, c) {
			return
		}
	}
	t.Errorf("got %v, want one of %v", err, codes)
}

// A finished draft has no name yet, and nobody may take it for something left.
func TestDraftsAreNotSweptByOthers(t *testing.T) {
	t.Parallel()
	s := store(t)
	at(t, s.Dir(), 6, func(i int, s *snapshot.Store) {
		for n := range 15 {
			name := fmt.Sprintf("s%d-%d", i, n)
			if _, err := take(t.Context(), s, name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if n%2 == 0 {
				if err := s.Remove(t.Context(), name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	})
	all, err := s.List()
	if err != nil || len(all) != 6*7 {
		t.Errorf("%d are listed, error %v", len(all), err)
	}
}

func TestPinnedSnapshotIsNeverRemoved(t *testing.T) {
	t.Parallel()
	s := store(t)
	for round := range 20 {
		m, err := take(t.Context(), s, "it")
		must(t, err)
		holder := t.TempDir()
		pin := s.Pin("it", holder)
		var used, removed error
		at(t, s.Dir(), 2, func(i int, s *snapshot.Store) {
			if i == round%2 {
				used = s.Use(t.Context(), pin, m.ID)
			} else {
				removed = s.Remove(t.Context(), "it")
			}
		})
		switch used {
		case nil:
			wantOneOf(t, removed, errcode.SnapshotInUse)
			_, err := s.Check(t.Context(), "it")
			must(t, err)
			must(t, os.Remove(holder)) // the holder is gone, and with it its claim
			if users, err := s.Users("it"); err != nil || len(users) > 0 {
				t.Errorf("used by %v, %v", users, err)
			}
			must(t, s.Remove(t.Context(), "it"))
		default:
			wantOneOf(t, used, errcode.SnapshotNotFound)
			must(t, removed)
		}
	}
}

func TestPinOfAnotherSnapshotOfTheNameIsRefused(t *testing.T) {
	t.Parallel()
	s := store(t)
	first, err := take(t.Context(), s, "it")
	must(t, err)
	must(t, s.Remove(t.Context(), "it"))
	_, err = take(t.Context(), s, "it")
	must(t, err)
	wantCode(t, s.Use(t.Context(), s.Pin("it", t.TempDir()), first.ID), errcode.SnapshotNotFound)
	// Half a pin, of a call that was killed, holds nothing.
	uses := filepath.Join(s.Path("it"), "uses")
	must(t, os.MkdirAll(uses, 0o700))
	write(t, filepath.Join(uses, "empty"), nil)
	must(t, s.Remove(t.Context(), "it"))
}

func TestTwoCallersMergeOnce(t *testing.T) {
	t.Parallel()
	s := store(t)
	layers(t, s)
	m, err := s.Get("it")
	must(t, err)
	files := make([]fs.FileInfo, 6)
	at(t, s.Dir(), len(files), func(i int, s *snapshot.Store) {
		path, err := s.Memory(t.Context(), m)
		if err != nil {
			t.Error(err)
			return
		}
		if files[i], err = os.Stat(path); err != nil {
			t.Error(err)
		}
	})
	for _, f := range files {
		if t.Failed() || !os.SameFile(f, files[0]) || f.Mode().Perm() != 0o444 {
			t.Fatalf("got %+v", files)
		}
	}
}

func TestDiffWhoseParentWasRemovedMeanwhileIsNotCommitted(t *testing.T) {
	t.Parallel()
	s := store(t)
	parent, err := take(t.Context(), s, "parent")
	must(t, err)
	d, err := s.Draft(t.Context(), "diff")
	must(t, err)
	write(t, d.Path(snapshot.StateFile), nil)
	write(t, d.Path(snapshot.MemoryFile), nil)
	must(t, s.Remove(t.Context(), "parent"))
	_, err = d.Commit(t.Context(), snapshot.Manifest{
		Type: snapshot.Diff, Parent: &snapshot.Parent{Name: "parent", ID: parent.ID}, FirecrackerVersion: firecracker.Version{Major: 1}, VMConfig: []byte("{}"),
	})
	wantCode(t, err, errcode.SnapshotNotFound)
	must(t, d.Discard())
	if all, err := s.List(); err != nil || len(all) > 0 {
		t.Errorf("listed: %v, %v", all, err)
	}
}

func TestStoreOfSomebodyElseIsRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.Chmod(dir, 0o777))
	s := open(t, dir)
	_, err := s.Draft(t.Context(), "it")
	wantCode(t, err, errcode.InsecurePath)
	_, err = s.List()
	wantCode(t, err, errcode.InsecurePath)
	wantCode(t, second(snapshot.Open(snapshot.Options{})), errcode.InvalidConfig)
}
