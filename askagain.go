package smartvm

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/proc"
)

// Names of the files of a Firecracker that is asked why another refused its config.
const (
	againSocket = "again.sock"
	againLog    = "again.log"
	againInput  = "again.stdin"
)

// askAgain sends the config, request by request, to a Firecracker that will not
// boot, and returns the first refusal with Firecracker's own words. Nil means
// that it accepted everything, or that it could not be asked: what is known
// already has to do.
func (l *launch) askAgain(ctx context.Context) error {
	process, err := l.spawnAgain(ctx)
	if err != nil {
		return nil //nolint:nilerr // the question is an extra; the start has failed anyway
	}
	client := l.newClient(filepath.Join(l.vm.Dir(), againSocket))
	err = l.await(ctx, client, process.Done())
	if err == nil {
		err = client.Pipeline(ctx, l.plan.config.Requests())
	}
	_ = errors.Join(client.Close(), process.Kill(context.WithoutCancel(ctx)))
	if errors.Is(err, errcode.APIError) {
		return err
	}
	return nil
}

func (l *launch) spawnAgain(ctx context.Context) (*proc.Process, error) {
	v := l.vm
	if l.plan.vsock != "" { // the first one has bound it, perhaps
		if err := removeStale(ctx, l.plan.vsock); err != nil {
			return nil, err
		}
	}
	log := filepath.Join(v.Dir(), againLog)
	if err := touch(log); err != nil {
		return nil, err
	}
	stdin, err := plainfile.Open(filepath.Join(v.Dir(), againInput), unix.O_RDONLY|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	return startRecorded(l.ledger, roleFirecracker+" asked again", proc.Spec{
		Path: l.binary.Path, Args: []string{"--api-sock", filepath.Join(v.Dir(), againSocket), "--id", string(v.id), "--log-path", log},
		Dir: v.Dir(), Stdin: stdin, Stdout: null, Stderr: null,
	})
}
