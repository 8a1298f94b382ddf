package snapshot_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/snapshot"
)

// A kill at whatever point leaves nothing half made in the list, and the next call does
// what the killed one should have done and sweeps up after it.
func TestNextCallFinishesWhatAKilledOneBegan(t *testing.T) {
	t.Parallel()
	program := faulttest.Build(t, "testdata/user")
	stream := filepath.Join(t.TempDir(), "stream")
	write(t, stream, pack(t, honest(t, nil)...))
	again := func(verb string) func(*testing.T, *snapshot.Store) {
		return func(t *testing.T, s *snapshot.Store) {
			t.Helper()
			err := proc.Run(t.Context(), proc.Command{Path: program, Args: []string{verb, s.Dir(), "it", stream}, Env: os.Environ()})
			if _, there := s.Get("it"); there != nil || verb == "merge" || verb == "verify" {
				must(t, err)
			}
			_, err = s.Check(t.Context(), "it")
			must(t, err)
		}
	}
	for _, tt := range []struct {
		verb string
		set  func(*testing.T, *snapshot.Store)
		then func(*testing.T, *snapshot.Store)
		min  int // kills there must be at least, so that points are not lost
	}{
		{verb: "take", min: 4, then: again("take")},
		{verb: "import", min: 4, then: again("import")},
		{
			verb: "merge", min: 4, set: layers,
			then: func(t *testing.T, s *snapshot.Store) {
				t.Helper()
				again("merge")(t, s)
				m, err := s.Get("it")
				must(t, err)
				path, err := s.Memory(t.Context(), m)
				must(t, err)
				got, err := os.ReadFile(path)
				if err != nil || !bytes.Equal(got, append(bytes.Repeat([]byte("a"), page), bytes.Repeat([]byte("b"), page)...)) {
					t.Errorf("merged to other content (%v)", err)
				}
			},
		},
		{verb: "verify", min: 1, set: layers, then: again("verify")},
		{
			verb: "remove", min: 1,
			set: func(t *testing.T, s *snapshot.Store) { t.Helper(); put(t, s, "it", nil, 1, nil) },
			then: func(t *testing.T, s *snapshot.Store) {
				t.Helper()
				if err := s.Remove(t.Context(), "it"); err != nil {
					wantCode(t, err, errcode.SnapshotNotFound)
				}
			},
		},
	} {
		t.Run(tt.verb, func(t *testing.T) {
			t.Parallel()
			kills := 0
			for n := 1; ; n++ {
				s := store(t)
				if tt.set != nil {
					tt.set(t, s)
				}
				point, killed := faulttest.Run(t, n, proc.Command{Path: program, Args: []string{tt.verb, s.Dir(), "it", stream}})
				if !killed {
					break
				}
				kills++
				t.Log("killed at", point)
				all, err := s.List()
				must(t, err)
				for _, m := range all { // whatever is listed is whole
					_, err := s.Check(t.Context(), m.Name)
					must(t, err)
				}
				tt.then(t, s)
				clean(t, s)
			}
			if kills < tt.min {
				t.Errorf("it was killed %d times, want at least %d", kills, tt.min)
			}
		})
	}
}

// layers is a diff of two pages.
func layers(t *testing.T, s *snapshot.Store) {
	t.Helper()
	full := put(t, s, "base", nil, 2, map[int][]byte{0: bytes.Repeat([]byte("a"), page)})
	put(t, s, "it", full, 2, map[int][]byte{1: bytes.Repeat([]byte("b"), page)})
}

// clean sees that one more call leaves nothing but snapshots and their files.
func clean(t *testing.T, s *snapshot.Store) {
	t.Helper()
	wantCode(t, s.Remove(t.Context(), "none"), errcode.SnapshotNotFound)
	for _, name := range names(t, s.Dir()) {
		if strings.HasPrefix(name, ".new-") || strings.HasPrefix(name, ".gone-") {
			t.Errorf("%s is left", name)
		}
	}
	for _, name := range []string{"it/.merge", "it/.alive"} {
		if _, err := os.Lstat(filepath.Join(s.Dir(), name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
}
