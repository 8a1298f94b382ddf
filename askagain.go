package smartvm

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/jail"
	"github.com/smartvm/smartvm/internal/plainfile"
	"github.com/smartvm/smartvm/internal/proc"
	"github.com/smartvm/smartvm/vmconfig"
)

// Names of the files of a Firecracker that is asked why another refused its config.
const (
	againSocket = "again.sock"
	againLog    = "again.log"
	againInput  = "again.stdin"
	againJail   = "again"
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
	files, err := l.filesAgain(ctx)
	if err != nil {
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
	args := []string{"--api-sock", files.Inside(roleSocket), "--log-path", files.Inside(againLog)}
	return l.runFirecracker(ctx, roleFirecracker+" asked again", files, args, proc.Spec{Dir: v.Dir(), Stdin: stdin, Stdout: null, Stderr: null})
}

// filesAgain returns the files of the second Firecracker: those of the first, but for
// its own socket and log, and in a jail of its own if that had one.
func (l *launch) filesAgain(ctx context.Context) (*jail.Table, error) {
	dir := l.vm.Dir()
	files := &jail.Table{Links: l.plan.files.Links}
	if first := l.plan.files.Jail; first != nil {
		files.Jail = jail.New(filepath.Join(dir, againJail), l.binary.Path, l.vm.ID(), first.UID)
	}
	for _, f := range l.plan.files.Files {
		switch f.Role {
		case roleSocket, roleConfig, roleMetadata, roleTemplate:
			continue
		case string(vmconfig.RoleVsock), string(vmconfig.RoleGDBSocket):
			if files.Jail == nil { // the first one has bound it, perhaps
				if err := removeStale(ctx, f.Host); err != nil {
					return nil, err
				}
			}
		}
		files.Files = append(files.Files, f)
	}
	socket := jail.File{Role: roleSocket, Host: filepath.Join(dir, againSocket)}
	_, err := files.Add(socket.Role, socket.Host, socket.Access)
	if err != nil {
		return nil, err
	}
	if files.Jail != nil {
		socket.Inside = files.Inside(roleSocket)
		if err := linkSocket(files.Jail, socket); err != nil {
			return nil, err
		}
	}
	log := filepath.Join(dir, againLog)
	if _, err := touch(log); err != nil {
		return nil, err
	}
	_, err = files.Add(againLog, log, jail.Read|jail.Write|jail.Ours)
	return files, err
}
