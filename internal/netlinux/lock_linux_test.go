package netlinux_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netlinux"
	"github.com/smartvm/smartvm/internal/nettest"
)

const (
	counters = 3   // goroutines of each process
	rounds   = 100 // of each
)

// countUnderLock adds to the number in a file, in a way that only works alone.
func countUnderLock(args []string) error {
	h, err := netlinux.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	errs := make([]error, counters)
	var all sync.WaitGroup
	for i := range counters {
		all.Go(func() {
			for range rounds {
				if errs[i] = countOnce(h, args[0]); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func countOnce(h *netlinux.Host, path string) error {
	unlock, err := h.Lock(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strconv.Itoa(n+1)), 0o600)
}

func TestLockExcludesGoroutinesAndProcesses(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "count")
		must(t, os.WriteFile(path, []byte("0"), 0o600))
		both := []*exec.Cmd{play(t, "count", path), play(t, "count", path)}
		for _, cmd := range both {
			must(t, cmd.Start())
		}
		for _, cmd := range both {
			must(t, cmd.Wait())
		}
		text, err := os.ReadFile(path)
		must(t, err)
		if want := fmt.Sprint(len(both) * counters * rounds); string(text) != want {
			t.Errorf("counted to %s, want %s", text, want)
		}
	})
}

func holdLock([]string) error {
	h, err := netlinux.Open()
	if err != nil {
		return err
	}
	if _, err := h.Lock(context.Background()); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString("held\n"); err != nil {
		return err
	}
	select {} // until it is killed
}

func TestLockOfAKilledProcessIsFree(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h := open(t)
		cmd := play(t, "hold and wait")
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		_, err = bufio.NewReader(out).ReadString('\n')
		must(t, err)

		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := h.Lock(ctx)
			result <- err
		}()
		cancel()
		if err := <-result; !errors.Is(err, errcode.Cancelled) || !errors.Is(err, context.Canceled) {
			t.Errorf("held by a live process: %v", err)
		}
		must(t, cmd.Process.Signal(unix.SIGKILL))
		if err := cmd.Wait(); err == nil {
			t.Error("it was not killed")
		}
		unlock, err := h.Lock(t.Context())
		must(t, err)
		unlock()
	})
}

func TestLockWaitsForItsTurnOnlyAsLongAsTheContext(t *testing.T) {
	t.Parallel()
	nettest.Isolated(t, func(t *testing.T) {
		h, other := open(t), open(t)
		unlock, err := h.Lock(t.Context())
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := other.Lock(ctx); !errors.Is(err, errcode.Cancelled) {
			t.Errorf("got %v", err)
		}
		unlock()
		unlock, err = other.Lock(t.Context())
		must(t, err)
		unlock()
		unlock() // gives nothing back that others have taken since
		unlock, err = h.Lock(t.Context())
		must(t, err)
		unlock()
	})
}
