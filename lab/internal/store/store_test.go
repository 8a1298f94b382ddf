package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smartvm/smartvm/lab/internal/store"
)

func open(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "a", "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fill makes an entry of one file.
func fill(dir string) error { return os.WriteFile(filepath.Join(dir, "file"), []byte("whole"), 0o600) }

func names(t *testing.T, s *store.Store) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, e := range entries {
		found[e.Name()] = true
	}
	return found
}

func TestEntryIsMadeOnceForAll(t *testing.T) {
	t.Parallel()
	s := open(t)
	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			path, err := s.Ensure(t.Context(), "kind-1", func(dir string) error {
				made.Add(1)
				return fill(dir)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if text, err := os.ReadFile(filepath.Join(path, "file")); err != nil || string(text) != "whole" {
				t.Errorf("the entry has %q, %v", text, err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("it was made %d times", made.Load())
	}
}

func TestEntryThatCanNotBeMadeIsNotThere(t *testing.T) {
	t.Parallel()
	s := open(t)
	broken := errors.New("broken")
	if _, err := s.Ensure(t.Context(), "kind-1", func(string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if got := names(t, s); len(got) != 1 || !got[".lock"] {
		t.Errorf("the store has %v", got)
	}
	if _, err := s.Ensure(t.Context(), "kind-1", fill); err != nil {
		t.Errorf("the next attempt: %v", err)
	}
}

func TestKeyDependsOnEachPart(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, parts := range [][][]byte{{[]byte("ab")}, {[]byte("a"), []byte("b")}, {[]byte("b"), []byte("a")}, {[]byte("ab"), nil}, {}} {
		seen[store.Key("kind", parts...)] = true
	}
	if len(seen) != 5 {
		t.Errorf("5 contents have %d keys", len(seen))
	}
}

func TestPruneRemovesWhatNobodyHasUsedForLong(t *testing.T) {
	t.Parallel()
	s := open(t)
	old := time.Now().Add(-365 * 24 * time.Hour)
	for _, name := range []string{"kind-1", "kind-2", "other-3"} {
		if _, err := s.Ensure(t.Context(), name, fill); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".new-killed", ".new-tests-running"} {
		if err := os.Mkdir(filepath.Join(s.Dir(), name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"kind-1", "kind-2", ".new-killed"} {
		if err := os.Chtimes(filepath.Join(s.Dir(), name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Ensure(t.Context(), "kind-2", fill); err != nil { // a use
		t.Fatal(err)
	}
	if err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := names(t, s)
	if len(got) != 4 || !got[".lock"] || !got["kind-2"] || !got["other-3"] || !got[".new-tests-running"] {
		t.Errorf("left are %v", got)
	}
	if newest, err := s.Newest("kind"); err != nil || filepath.Base(newest) != "kind-2" {
		t.Errorf("the newest is %s, %v", newest, err)
	}
	if newest, err := s.Newest("nosuch"); err != nil || newest != "" {
		t.Errorf("the newest of nothing is %s, %v", newest, err)
	}
}
