package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolatedVar is set in the process that has a network namespace of its own.
const isolatedVar = "SMARTVM_BENCH_ISOLATED"

func isolated() bool { return os.Getenv(isolatedVar) != "" }

// isolate runs this program again, with the same command line, in a new network
// namespace, and takes what it has measured. The host's network is never touched, and
// the kernel removes what that process may leave in its own.
func isolate(ctx context.Context, progress io.Writer, answer *measured) error {
	// The kernel sends Pdeathsig when the thread that started the process ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), isolatedVar+"=1")
	cmd.Stdout, cmd.Stderr = &out, progress
	// With SIGTERM it cleans up before it ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * cleanupTimeout
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("in a network namespace: %w", err)
	}
	return json.Unmarshal(out.Bytes(), answer)
}

// serve is what the process does that isolate starts.
func serve(ctx context.Context, opts *options, out io.Writer) (err error) {
	l, err := openLab(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	s := &site{lab: l, opts: opts}
	if err := s.measure(ctx); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(s.measured)
}
