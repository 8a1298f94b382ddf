package netlinux

import (
	"context"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/filelock"
)

// lockPath is what all smartvm processes of a network namespace lock. The kernel
// has one such file for each network namespace, for as long as that exists, and
// only root may open it for writing: no directory has to be agreed upon, and no
// other user can hold the lock. (Opening it does nothing; a write would flush the
// cache of routes.) Processes that see the namespace through different mounts of
// /proc, as in a container, do not exclude each other.
const lockPath = "/proc/sys/net/ipv4/route/flush"

// turn is held by the goroutine that tries to get the lock or has it, so that one
// of each process asks the kernel, and the others wait without asking.
var turn = make(chan struct{}, 1)

// Lock excludes all others who set up or take down networks in this namespace, in
// this process and in others, until unlock is called; further calls of it do
// nothing. A killed process loses its lock.
func (h *Host) Lock(ctx context.Context) (unlock func(), err error) {
	const op, subject = "lock", "host network"
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return nil, failed(errcode.Cancelled, op, subject, context.Cause(ctx))
	}
	f, err := lock(ctx)
	if err != nil {
		<-turn
		code := errcode.NetworkFailed
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
			code = errcode.Cancelled
		}
		return nil, failed(code, op, subject, err)
	}
	return sync.OnceFunc(func() {
		_ = filelock.CloseFlock(f)
		<-turn
	}), nil
}

func lock(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(lockPath, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	err = filelock.Repeat(ctx, func() error {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return filelock.ErrLocked
		}
		return err
	})
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
