package smartvm

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/firecracker"
)

// connect makes the client of the VM's Firecracker and, if the start goes on
// with requests, waits until its API can be talked to.
func (l *launch) connect(ctx context.Context) error {
	v := l.vm
	client := l.newClient(v.SocketPath())
	if !l.plan.fromFile {
		if err := l.await(ctx, client, v.gone); err != nil {
			return errors.Join(err, client.Close())
		}
	}
	l.client = client
	v.mu.Lock()
	v.client, v.version = client, l.binary.Version
	v.mu.Unlock()
	return nil
}

func (l *launch) newClient(socket string) *firecracker.Client {
	opts := l.vm.manager.opts
	return firecracker.NewClient(socket, firecracker.ClientOptions{
		Version: l.binary.Version, BodyLimit: l.plan.body, Logger: opts.Logger,
		Timeout: max(opts.StartTimeout, firecracker.DefaultTimeout), Dial: dialer(l.plan.files.Jail),
	})
}

// await waits for a socket in the VM's directory, or for the end of the process
// that is to make it.
func (l *launch) await(ctx context.Context, client *firecracker.Client, gone <-chan struct{}) error {
	var last error
	if l.early() { // it has had time
		if last = tryConnect(ctx, client); last == nil {
			return nil
		}
	}
	err := l.until(ctx, gone, nil, func() (bool, error) {
		last = tryConnect(ctx, client)
		return last == nil, nil
	})
	if errors.Is(err, errTooLong) {
		return l.noSocket(client.Socket(), last)
	}
	return err
}

func (l *launch) noSocket(socket string, last error) error {
	return &Error{
		Code: errcode.SocketTimeout, Op: "wait for firecracker", Subject: socket,
		Err:  fmt.Errorf("the API did not answer within %s: %w", l.vm.manager.opts.StartTimeout, last),
		Hint: hintTooLong,
	}
}

const hintTooLong = "see Firecracker's log; on a loaded host raise StartTimeout"

// tryConnect looks first: a look at a socket that is not there yet costs a tenth
// of an attempt to connect to it.
func tryConnect(ctx context.Context, client *firecracker.Client) error {
	var st unix.Stat_t
	if err := unix.Stat(client.Socket(), &st); err != nil {
		return &os.PathError{Op: "stat", Path: client.Socket(), Err: err}
	}
	return client.Connect(ctx)
}
