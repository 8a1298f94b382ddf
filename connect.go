package smartvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// connect waits until the API of the VM's Firecracker can be talked to.
func (l *launch) connect(ctx context.Context) error {
	v := l.vm
	client := l.newClient(v.SocketPath())
	if err := l.await(ctx, client, v.gone); err != nil {
		return errors.Join(err, client.Close())
	}
	l.client = client
	v.mu.Lock()
	v.client = client
	v.mu.Unlock()
	return nil
}

func (l *launch) newClient(socket string) *firecracker.Client {
	opts := l.vm.manager.opts
	return firecracker.NewClient(socket, firecracker.ClientOptions{
		Version: l.binary.Version, BodyLimit: l.plan.body, Logger: opts.Logger,
		Timeout: max(opts.StartTimeout, firecracker.DefaultTimeout),
	})
}

// socketRetry is the pause between attempts while the socket exists and does
// not answer yet: bind makes the file, and only listen makes it answer.
const socketRetry = 100 * time.Microsecond

// await waits for a socket in the VM's directory, or for the end of the process
// that is to make it.
func (l *launch) await(ctx context.Context, client *firecracker.Client, gone <-chan struct{}) error {
	v := l.vm
	ctx, cancel := context.WithTimeoutCause(ctx, v.manager.opts.StartTimeout, errNoSocket)
	defer cancel()
	changed, err := v.manager.watcher.Dir(v.Dir())
	if err != nil {
		return err
	}
	defer changed.Close()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		err := tryConnect(ctx, client)
		if err == nil {
			return nil
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			retry.Reset(socketRetry)
		}
		select {
		case <-changed.C:
		case <-retry.C:
		case <-gone:
			return errGoneBeforeAnswer
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, errNoSocket) {
				return cause
			}
			return &Error{
				Code: errcode.SocketTimeout, Op: "wait for firecracker", Subject: client.Socket(),
				Err:  fmt.Errorf("the API did not answer within %s: %w", v.manager.opts.StartTimeout, err),
				Hint: "see Firecracker's log; on a loaded host raise StartTimeout",
			}
		}
	}
}

// tryConnect looks first: a look at a socket that is not there yet costs a tenth
// of an attempt to connect to it.
func tryConnect(ctx context.Context, client *firecracker.Client) error {
	var st unix.Stat_t
	if err := unix.Lstat(client.Socket(), &st); err != nil {
		return &os.PathError{Op: "lstat", Path: client.Socket(), Err: err}
	}
	return client.Connect(ctx)
}

var (
	errNoSocket         = errors.New("firecracker's API did not answer")
	errGoneBeforeAnswer = errors.New("firecracker ended before its API answered")
)
