// Package snapshot is a store of microVMs that stand still: for each its state, its
// memory, a copy of every drive that its guest could write, and a manifest that says
// where it came from and what it needs.
//
// A snapshot is there whole or not at all. Its files never change: VMs map its memory,
// several at a time, and would see every change.
//
//	store, err := snapshot.Open(snapshot.Options{Dir: dir})
//	draft, err := store.Draft(ctx, "warm")
//	// Firecracker writes draft.Path(snapshot.StateFile) and draft.Path(snapshot.MemoryFile)
//	manifest, err := draft.Commit(ctx, snapshot.Manifest{...})
//
// It is smartvm.VM.Snapshot that makes snapshots, and smartvm.Manager.Restore that makes
// VMs of them. The package works on Linux.
package snapshot
