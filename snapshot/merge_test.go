package snapshot_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/snapshot"
)

const page = 4096

func open(tb testing.TB, dir string) *snapshot.Store {
	tb.Helper()
	s, err := snapshot.Open(snapshot.Options{Dir: dir})
	must(tb, err)
	return s
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// put makes a snapshot whose memory has these pages; the others are holes.
func put(tb testing.TB, s *snapshot.Store, name string, parent *snapshot.Manifest, size int, pages map[int][]byte) *snapshot.Manifest {
	tb.Helper()
	d, err := s.Draft(tb.Context(), name)
	must(tb, err)
	must(tb, os.WriteFile(d.Path(snapshot.StateFile), []byte("state of "+name), 0o600))
	f, err := os.Create(d.Path(snapshot.MemoryFile))
	must(tb, err)
	must(tb, f.Truncate(int64(size)*page))
	for i, content := range pages {
		_, err := f.WriteAt(content, int64(i)*page)
		must(tb, err)
	}
	must(tb, f.Close())
	about := snapshot.Manifest{Type: snapshot.Full, FirecrackerVersion: firecracker.Version{Major: 1, Minor: 12, Patch: 1}, VMConfig: []byte("{}")}
	if parent != nil {
		about.Type, about.Parent = snapshot.Diff, &snapshot.Parent{Name: parent.Name, ID: parent.ID}
	}
	m, err := d.Commit(tb.Context(), about)
	must(tb, err)
	return m
}

func pattern(r *rand.Rand) []byte {
	b := make([]byte, page)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestMergedChainIsWhatTheLayersSay(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		const size = 200
		s := open(t, filepath.Join(t.TempDir(), "store"))
		want := make([]byte, size*page)
		var last *snapshot.Manifest
		for layer, name := range []string{"full", "one", "two", "three"} {
			pages := map[int][]byte{}
			for range size / (layer + 1) {
				pages[r.IntN(size)] = pattern(r)
			}
			for i, content := range pages {
				copy(want[i*page:], content)
			}
			last = put(t, s, name, last, size, pages)
			if name == "two" && seed%2 == 1 { // one in the middle is merged before
				_, err := s.Memory(t.Context(), last)
				must(t, err)
			}
		}
		path, err := s.Memory(t.Context(), last)
		must(t, err)
		got, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d: the merged memory is not what the layers say", seed)
		}
		again, err := s.Memory(t.Context(), last)
		if err != nil || again != path {
			t.Errorf("a second time: %s, %v", again, err)
		}
	}
}

func TestParentOfADiffStaysUntilThatIsMerged(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	full := put(t, s, "full", nil, 4, map[int][]byte{0: {1}})
	diff := put(t, s, "diff", full, 4, map[int][]byte{1: {2}})
	wantCode(t, s.Remove(t.Context(), "full"), errcode.SnapshotInUse)
	path, err := s.Memory(t.Context(), diff)
	must(t, err)
	must(t, s.Remove(t.Context(), "full"))
	again, err := s.Memory(t.Context(), diff)
	if err != nil || again != path {
		t.Errorf("without its parent: %s, %v", again, err)
	}
	must(t, os.Chmod(path, 0o600)) // which changes the file
	_, err = s.Memory(t.Context(), diff)
	wantCode(t, err, errcode.InvalidSnapshot)
}

func TestDiffOfAnotherParentOfTheSameNameIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	full := put(t, s, "full", nil, 4, nil)
	diff := put(t, s, "diff", full, 4, nil)
	must(t, os.RemoveAll(s.Path("full"))) // behind the store's back
	_, err := s.Memory(t.Context(), diff)
	wantCode(t, err, errcode.SnapshotNotFound)
	full = put(t, s, "full", nil, 4, nil)
	_, err = s.Memory(t.Context(), diff)
	wantCode(t, err, errcode.InvalidSnapshot)
	larger := put(t, s, "larger", full, 8, nil)
	_, err = s.Memory(t.Context(), larger)
	wantCode(t, err, errcode.InvalidSnapshot)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fits := put(t, s, "fits", full, 4, map[int][]byte{0: {1}})
	if _, err := s.Memory(ctx, fits); err == nil {
		t.Error("merged although its caller had gone")
	}
	if _, err := s.Memory(t.Context(), fits); err != nil {
		t.Error(err)
	}
}

func wantCode(t *testing.T, err error, want errcode.Code) *errcode.Error {
	t.Helper()
	if errcode.Of(err, "") != want {
		t.Fatalf("got %v (%s), want %s", err, errcode.Of(err, ""), want)
	}
	e, _ := err.(*errcode.Error) //nolint:errorlint // for its details
	return e
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestStoreListsWhatIsWholeAndNothingElse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, dir)
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Errorf("an empty store has %v, %v", all, err)
	}
	put(t, s, "b", nil, 1, nil)
	put(t, s, "a", nil, 1, nil)
	draft, err := s.Draft(t.Context(), "c")
	must(t, err)
	must(t, os.Mkdir(filepath.Join(dir, "broken"), 0o700))
	all, err := s.List()
	must(t, err)
	var got []string
	for _, m := range all {
		got = append(got, m.Name)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		t.Error(diff)
	}
	must(t, draft.Discard())
	_, err = s.Draft(t.Context(), "a")
	wantCode(t, err, errcode.SnapshotExists)
	holder := t.TempDir()
	m, err := s.Get("a")
	must(t, err)
	pin := s.Pin("a", holder)
	must(t, s.Use(t.Context(), pin, m.ID))
	wantCode(t, s.Remove(t.Context(), "a"), errcode.SnapshotInUse)
	wantCode(t, s.Use(t.Context(), pin, "another"), errcode.SnapshotNotFound)
	must(t, pin.Release())
	must(t, pin.Release())
	must(t, s.Use(t.Context(), s.Pin("a", filepath.Join(holder, "gone")), m.ID)) // of a holder that is gone
	must(t, s.Remove(t.Context(), "a"))
	wantCode(t, s.Remove(t.Context(), "a"), errcode.SnapshotNotFound)
	if diff := cmp.Diff([]string{".lock", "b", "broken"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
}
