package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/internal/filelock"
	"github.com/smartvm/smartvm/snapshot"
)

// TestWhateverACancelledContextEndsSaysSo is about every call that takes a context.
func TestWhateverACancelledContextEndsSaysSo(t *testing.T) {
	t.Parallel()
	s := store(t)
	layers(t, s)
	diff, err := s.Get("it")
	must(t, err)
	stream := pack(t, honest(t, nil)...)
	draft, err := s.Draft(t.Context(), "draft")
	must(t, err)
	for _, part := range []string{snapshot.StateFile, snapshot.MemoryFile} {
		write(t, draft.Path(part), []byte(part))
	}
	lock, err := os.OpenFile(filepath.Join(s.Dir(), ".lock"), os.O_RDWR, 0)
	must(t, err)
	defer lock.Close()
	must(t, filelock.Try(lock, filelock.Range{}, filelock.Exclusive)) // so that who needs it has to wait
	gone := errors.New("the caller has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)

	for call, err := range map[string]error{
		"check":  second(s.Check(ctx, "it")),
		"verify": second(s.Verify(ctx, "it")),
		"memory": second(s.Memory(ctx, diff)),
		"export": s.Export(ctx, "it", io.Discard, snapshot.ExportOptions{}),
		"import": second(s.Import(ctx, bytes.NewReader(stream), "")),
		"draft":  second(s.Draft(ctx, "another")),
		"commit": second(draft.Commit(ctx, snapshot.Manifest{Type: snapshot.Full, FirecrackerVersion: firecracker.Version{Major: 1}, VMConfig: []byte("{}")})),
		"use":    s.Use(ctx, s.Pin("it", t.TempDir()), diff.ID),
		"remove": s.Remove(ctx, "it"),
	} {
		if errcode.Of(err, "") != errcode.Cancelled || !errors.Is(err, gone) {
			t.Errorf("%s: %v, code %s", call, err, errcode.Of(err, "none"))
		}
	}
	must(t, filelock.Release(lock, filelock.Range{}))
	must(t, draft.Discard())
}
