package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readerGone returns a channel that is closed when stdout is a pipe that nobody
// reads any more. A guest that is silent would never find out. Until ctx ends
// there is a goroutine that watches.
func readerGone(ctx context.Context, stdout io.Writer) <-chan struct{} {
	out, ok := stdout.(*output)
	if !ok {
		return nil
	}
	pipe, ok := out.w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := pipe.Stat(); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		return nil
	}
	ended, wake, err := os.Pipe()
	if err != nil {
		return nil // the next write finds out as well
	}
	gone := make(chan struct{})
	context.AfterFunc(ctx, func() { _ = wake.Close() }) // it was never written to
	go func() {
		defer ended.Close()
		// POLLERR and POLLHUP are reported without being asked for.
		fds := []unix.PollFd{{Fd: int32(pipe.Fd())}, {Fd: int32(ended.Fd())}}
		for {
			_, err := unix.Poll(fds, -1)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err == nil && fds[0].Revents&unix.POLLERR != 0 {
				close(gone)
			}
			return
		}
	}()
	return gone
}
