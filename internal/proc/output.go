package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxOutput bounds what a short program may print.
const maxOutput = 64 << 10

// Output runs a program that ends by itself and returns what it prints on its
// standard output. It is killed when ctx ends.
func Output(ctx context.Context, path string, args ...string) ([]byte, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p, err := Start(Spec{Path: path, Args: args, Dir: "/", Stdin: null, Stdout: w, Stderr: null})
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Kill(context.WithoutCancel(ctx)) })
	defer stop()
	out, err := io.ReadAll(io.LimitReader(r, maxOutput))
	if len(out) == maxOutput {
		err = errors.Join(p.Signal(unix.SIGKILL), fmt.Errorf("printed more than %d bytes", maxOutput))
	}
	<-p.Done()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	case !p.Status().Success():
		return out, fmt.Errorf("ended with %s", p.Status())
	}
	return out, nil
}
