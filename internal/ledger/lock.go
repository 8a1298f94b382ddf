package ledger

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/plainfile"
)

// guard takes a lock on the runtime directory itself. It separates building a
// directory under a temporary name (unix.LOCK_SH) from removing the leftovers of
// such building (unix.LOCK_EX). It is a lock of flock, since a directory can't be
// opened for writing, as an exclusive one of filelock demands.
func guard(runtime string, how int) (*os.File, error) {
	f, err := plainfile.Open(runtime, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
	}
}
