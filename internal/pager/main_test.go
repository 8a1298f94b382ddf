package pager_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/pager"
)

// The test binary is other programs as well, by its first argument.
const (
	serverProgram = "serve" // WORKING-SET: see pager.Inherited
	vmmProgram    = "vmm"   // SOCKET PAGE-SIZE SIZE...: a Firecracker without a guest, see vmm_test.go
)

func TestMain(m *testing.M) { os.Exit(act(m)) }

func act(m *testing.M) int {
	if len(os.Args) < 2 {
		return m.Run()
	}
	switch os.Args[1] {
	case serverProgram:
		leave(serve(os.Args[2:]))
	case vmmProgram:
		leave(play(os.Args[2:]))
	}
	return m.Run()
}

func serve(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	return pager.Serve(ctx, pager.Inherited(args, slog.New(slog.NewTextHandler(os.Stderr, nil))))
}

// leave ends the process without the second that os.Exit sleeps in a program built with
// -race.
func leave(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		unix.Exit(1)
	}
	unix.Exit(0)
}
