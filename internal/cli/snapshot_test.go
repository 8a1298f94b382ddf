package cli

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/snapshot"
)

// takeSnapshot makes a snapshot of no VM, so that scripts need none:
//
//	takesnapshot NAME [PARENT]
//
// A full one has a drive of its own and one that is shared, $WORK/shared.
func takeSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: takesnapshot NAME [PARENT]")
	}
	ctx := context.Background()
	store, closeStore := storeOf(ts)
	defer closeStore()
	about := snapshot.Manifest{
		CreatedAt: time.Now(), Type: snapshot.Full, FirecrackerVersion: firecracker.Version{Major: 1, Minor: 12, Patch: 1},
		VMConfig: []byte(`{"drives":[{"drive_id":"own"},{"drive_id":"shared"}]}`),
		Drives: []snapshot.Drive{
			{ID: "own", Copy: snapshot.DiskFile("own"), HostPath: "/gone"},
			{ID: "shared", ReadOnly: true, HostPath: ts.MkAbs("shared")},
		},
	}
	if len(args) == 2 {
		parent, err := store.Get(args[1])
		ts.Check(err)
		about.Type, about.Parent = snapshot.Diff, &snapshot.Parent{Name: parent.Name, ID: parent.ID}
	}
	draft, err := store.Draft(ctx, args[0])
	ts.Check(err)
	for _, part := range []string{snapshot.StateFile, snapshot.MemoryFile, snapshot.DiskFile("own")} {
		ts.Check(os.WriteFile(draft.Path(part), []byte("the "+part), 0o600))
	}
	ts.Check(os.Truncate(draft.Path(snapshot.MemoryFile), 8<<20))
	_, err = draft.Commit(ctx, about)
	ts.Check(err)
}

// holdSnapshot makes a pin as a VM does, whose directory is the script's:
//
//	holdsnapshot NAME DIR
func holdSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: holdsnapshot NAME DIR")
	}
	store, closeStore := storeOf(ts)
	defer closeStore()
	m, err := store.Get(args[0])
	ts.Check(err)
	ts.Check(store.Use(context.Background(), store.Pin(m.Name, ts.MkAbs(args[1])), m.ID))
}

func storeOf(ts *testscript.TestScript) (store *snapshot.Store, closeStore func()) {
	m, err := smartvm.New(smartvm.Options{DataDir: ts.Getenv("SMARTVM_DATA_DIR"), RuntimeDir: filepath.Clean(ts.Getenv("SMARTVM_RUNTIME_DIR"))})
	ts.Check(err)
	return m.Snapshots(), func() { ts.Check(m.Close()) }
}
