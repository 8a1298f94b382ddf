package snapshot_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/hosttest"
	"github.com/smartvm/smartvm/snapshot"
)

func TestFullDiskIsNoSpaceAndKeepsNothing(t *testing.T) {
	t.Parallel()
	hosttest.Isolate(t)
	dir := filepath.Join(t.TempDir(), "store")
	must(t, os.Mkdir(dir, 0o700))
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=0700"))
	elsewhere := store(t)
	rich(t, elsewhere, "rich")
	big := put(t, elsewhere, "big", nil, 800, map[int][]byte{0: content(700 * page)})

	s := open(t, dir)
	full := put(t, s, "full", nil, 300, map[int][]byte{0: content(300 * page)})
	diff := put(t, s, "diff", full, 300, map[int][]byte{1: content(page)})
	before := names(t, dir)

	_, err := s.Import(t.Context(), bytes.NewReader(export(t, elsewhere, big.Name, snapshot.ExportOptions{})), "")
	wantCode(t, err, errcode.NoSpace)
	_, err = s.Memory(t.Context(), diff)
	wantCode(t, err, errcode.NoSpace)
	if _, err := os.Lstat(filepath.Join(s.Path("diff"), ".merge")); err == nil {
		t.Error("half a memory is left")
	}

	fill := filepath.Join(dir, "fill") // to the last byte
	f, err := os.Create(fill)
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, page))
	}
	must(t, f.Close())
	wantCode(t, second(s.Verify(t.Context(), "full")), errcode.NoSpace)
	m, err := s.Check(t.Context(), "full") // what it had stays
	must(t, err)
	wantCode(t, s.Use(t.Context(), s.Pin("full", t.TempDir()), m.ID), errcode.NoSpace)
	d, err := s.Draft(t.Context(), "more")
	must(t, err) // the names of a tmpfs take no room
	for _, part := range []string{snapshot.StateFile, snapshot.MemoryFile} {
		must(t, os.WriteFile(d.Path(part), nil, 0o600))
	}
	_, err = d.Commit(t.Context(), snapshot.Manifest{Type: snapshot.Full, FirecrackerVersion: firecracker.Version{Major: 1}, VMConfig: []byte("{}")})
	wantCode(t, err, errcode.NoSpace)
	must(t, d.Discard())

	must(t, os.Remove(fill))
	if after := names(t, dir); len(after) != len(before) {
		t.Errorf("left: %v, before %v", after, before)
	}
	must(t, s.Use(t.Context(), s.Pin("full", t.TempDir()), m.ID))
	_, err = s.Verify(t.Context(), "full")
	must(t, err)
	must(t, unix.Unmount(dir, 0)) // nothing is open any more
}
