// Command user is a process that uses a store of snapshots, for tests that kill it.
//
//	user take|merge|verify|import|remove STORE NAME [STREAM]
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/smartvm/smartvm/firecracker"
	"github.com/smartvm/smartvm/snapshot"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, verb, dir, name string, args []string) error {
	s, err := snapshot.Open(snapshot.Options{Dir: dir})
	if err != nil {
		return err
	}
	switch verb {
	case "take":
		return take(ctx, s, name)
	case "merge":
		m, err := s.Get(name)
		if err != nil {
			return err
		}
		_, err = s.Memory(ctx, m)
		return err
	case "verify":
		_, err = s.Verify(ctx, name)
	case "remove":
		err = s.Remove(ctx, name)
	case "import":
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		_, err = s.Import(ctx, f, name)
		return err
	default:
		err = fmt.Errorf("no such verb: %s", verb)
	}
	return err
}

func take(ctx context.Context, s *snapshot.Store, name string) error {
	d, err := s.Draft(ctx, name)
	if err != nil {
		return err
	}
	for _, part := range []string{snapshot.StateFile, snapshot.MemoryFile} {
		if err := os.WriteFile(d.Path(part), []byte("the "+part), 0o600); err != nil {
			return err
		}
	}
	_, err = d.Commit(ctx, snapshot.Manifest{
		Type: snapshot.Full, FirecrackerVersion: firecracker.Version{Major: 1, Minor: 12}, VMConfig: []byte("{}"),
	})
	return err
}
