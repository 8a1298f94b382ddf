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

// How long to wait between looks for the socket. Nobody waits for it: a guest
// that boots from a file needs much longer than Firecracker does to make its
// socket, so a look each few milliseconds costs less than being woken by
// inotify, whose watch has to be made and removed.
const (
	firstLook = 2 * time.Millisecond
	laterLook = 4 * time.Millisecond
)

// await waits for a socket in the VM's directory, or for the end of the process
// that is to make it.
func (l *launch) await(ctx context.Context, client *firecracker.Client, gone <-chan struct{}) error {
	timeout := l.vm.manager.opts.StartTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoSocket)
	defer cancel()
	pause := firstLook
	look := time.NewTimer(pause)
	defer look.Stop()
	for {
		err := tryConnect(ctx, client)
		if err == nil {
			return nil
		}
		select {
		case <-look.C:
			pause = min(2*pause, laterLook)
			look.Reset(pause)
		case <-gone:
			return errGoneBeforeAnswer
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, errNoSocket) {
				return cause
			}
			return &Error{
				Code: errcode.SocketTimeout, Op: "wait for firecracker", Subject: client.Socket(),
				Err:  fmt.Errorf("the API did not answer within %s: %w", timeout, err),
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
