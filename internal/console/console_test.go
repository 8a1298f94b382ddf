package console

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/watch"
)

func create(t *testing.T, limit int64) (*Console, Ends) {
	t.Helper()
	c := New(t.TempDir(), limit)
	ends, err := c.Create()
	if err != nil {
		t.Fatal(err)
	}
	return c, ends
}

func keep(t *testing.T, c *Console) *Keeper {
	t.Helper()
	k, err := c.Keep()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func read(t *testing.T, c *Console) string {
	t.Helper()
	r := c.Read()
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func say(t *testing.T, ends Ends, text string) {
	t.Helper()
	if _, err := ends.Out.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestOutputIsInTheLogWhenTheKeeperHasEnded(t *testing.T) {
	t.Parallel()
	c, ends := create(t, 0)
	k := keep(t, c)
	say(t, ends, "hello ")
	say(t, ends, "world\n")
	if err := errors.Join(ends.Close(), k.Err()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c); got != "hello world\n" {
		t.Errorf("log %q", got)
	}
}

func TestNextKeeperGoesOnWithWhatTheFIFOHolds(t *testing.T) {
	t.Parallel()
	c, ends := create(t, 0)
	k := keep(t, c)
	if _, err := c.Keep(); !errors.Is(err, ErrKept) {
		t.Errorf("second keeper: %v, want ErrKept", err)
	}
	say(t, ends, "one ")
	if err := k.Leave(); err != nil {
		t.Fatal(err)
	}
	say(t, ends, "two ")
	k = keep(t, c)
	say(t, ends, "three")
	if err := errors.Join(ends.Close(), k.Err()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c); got != "one two three" {
		t.Errorf("log %q", got)
	}
}

func TestNextKeeperFindsTheEndThatWasBeforeIt(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "last words", strings.Repeat("many", 10_000)} {
		c, ends := create(t, 0)
		held, err := c.Hold()
		if err != nil {
			t.Fatal(err)
		}
		say(t, ends, text)
		if err := ends.Close(); err != nil {
			t.Fatal(err)
		}
		k := keep(t, c)
		if err := errors.Join(k.Err(), k.Leave(), held.Close()); err != nil {
			t.Fatal(err)
		}
		if got := read(t, c); got != text {
			t.Errorf("log %q, want %q", got, text)
		}
	}
}

func TestLogKeepsTheNewestOutputWithinItsLimit(t *testing.T) {
	t.Parallel()
	const limit = 8 << 10
	c, ends := create(t, limit)
	k := keep(t, c)
	var all strings.Builder
	for i := range 5000 {
		line := fmt.Sprintf("line %d\n", i)
		all.WriteString(line)
		say(t, ends, line)
	}
	if err := errors.Join(ends.Close(), k.Err()); err != nil {
		t.Fatal(err)
	}
	got := read(t, c)
	if len(got) > limit || len(got) < limit/2 {
		t.Errorf("%d bytes are kept, limit %d", len(got), limit)
	}
	if !strings.HasSuffix(all.String(), got) {
		t.Error("what is kept is not the newest output")
	}
}

func TestFollowersSeeEverythingUntilTheEnd(t *testing.T) {
	t.Parallel()
	c, ends := create(t, 0)
	k := keep(t, c)
	say(t, ends, "early\n")
	var w watch.Watcher
	var wg sync.WaitGroup
	for range 5 {
		r, err := c.Follow(t.Context(), nil, &w)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			data, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil {
				t.Error(err)
			}
			if !bytes.HasPrefix(data, []byte("early\n")) || len(data) != 6+100_000 {
				t.Errorf("saw %d bytes starting with %.10q", len(data), data)
			}
		})
	}
	for range 1000 {
		say(t, ends, strings.Repeat("x", 100))
	}
	if err := errors.Join(ends.Close(), k.Err()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFollowerOfThisKeeperGoesOnWithTheNextOne(t *testing.T) {
	t.Parallel()
	c, ends := create(t, 0)
	k := keep(t, c)
	var w watch.Watcher
	defer w.Close()
	r, err := c.Follow(t.Context(), k, &w)
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(r)
	line := func(want string) {
		t.Helper()
		if got, err := in.ReadString('\n'); err != nil || got != want {
			t.Fatalf("read %q, %v, want %q", got, err, want)
		}
	}
	say(t, ends, "one\n")
	line("one\n")
	go func() { say(t, ends, "two\n") }() // mostly while the reader waits
	line("two\n")
	if err := k.Leave(); err != nil {
		t.Fatal(err)
	}
	say(t, ends, "three\n")
	k = keep(t, c)
	line("three\n")
	say(t, ends, "four\n")
	if err := errors.Join(ends.Close(), k.Err()); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(in)
	if err := errors.Join(err, r.Close()); err != nil || string(rest) != "four\n" {
		t.Errorf("the rest is %q, %v", rest, err)
	}
}

func TestFollowerEndsWithItsContextAndWithTheDirectory(t *testing.T) {
	t.Parallel()
	c, ends := create(t, 0)
	defer ends.Close()
	var w watch.Watcher
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := c.Follow(ctx, nil, &w)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("read = %v, want the context's error", err)
	}
	r2, err := c.Follow(t.Context(), nil, &w)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(c.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r2); err != nil {
		t.Errorf("read of a removed log: %v", err)
	}
	if err := errors.Join(r.Close(), r2.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestCloseEndsAReadThatWaits(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]bool{"our own keeper": true, "another one": false} {
		c, ends := create(t, 0)
		k := keep(t, c)
		var w watch.Watcher
		given := k
		if !kept {
			given = nil
		}
		r, err := c.Follow(t.Context(), given, &w)
		if err != nil {
			t.Fatal(err)
		}
		say(t, ends, "x")
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(r)
			read <- err
		}()
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
		if err := <-read; !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: read = %v, want os.ErrClosed", name, err)
		}
		if err := errors.Join(ends.Close(), k.Err(), w.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestSkipToEndShowsOnlyWhatComes(t *testing.T) {
	t.Parallel()
	c, ends := create(t, 0)
	k := keep(t, c)
	say(t, ends, "past")
	if err := k.Leave(); err != nil {
		t.Fatal(err)
	}
	// Leave may come before the output was moved; the next keeper finds it.
	for read(t, c) != "past" {
		k = keep(t, c)
		if err := k.Leave(); err != nil {
			t.Fatal(err)
		}
	}
	var w watch.Watcher
	defer w.Close()
	r, err := c.Follow(t.Context(), nil, &w)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SkipToEnd(); err != nil {
		t.Fatal(err)
	}
	k = keep(t, c)
	say(t, ends, "future")
	if err := errors.Join(ends.Close(), k.Err()); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if string(data) != "future" {
		t.Errorf("saw %q", data)
	}
}

func TestInputReachesTheGuestAndWaitsUnderTheContext(t *testing.T) {
	t.Parallel()
	c, ends := create(t, 0)
	if err := c.Write(t.Context(), []byte("ls\n")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := ends.In.Read(buf); err != nil || string(buf[:n]) != "ls\n" {
		t.Errorf("guest got %q, %v", buf[:n], err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	full := make(chan error, 1)
	go func() { full <- c.Write(ctx, make([]byte, 1<<20)) }() // nobody reads it
	cancel(enough)
	if err := <-full; !errors.Is(err, enough) {
		t.Errorf("write to a guest that does not read = %v, want the context's cause", err)
	}
	if err := ends.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), []byte("x")); !errors.Is(err, unix.ENXIO) {
		t.Errorf("write without Firecracker = %v, want ENXIO", err)
	}
}

func TestLeaveAtTheEndIsNoError(t *testing.T) {
	t.Parallel()
	for range 200 { // the two meet in some of them
		c, ends := create(t, 0)
		k := keep(t, c)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := ends.Close(); err != nil {
				t.Error(err)
			}
		})
		if err := k.Leave(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
}
