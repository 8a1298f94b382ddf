package filelock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/filelock"
)

// opens returns two opens of one file.
func opens(t *testing.T) (a, b *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lock")
	for _, f := range []**os.File{&a, &b} {
		var err error
		if *f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = (*f).Close() })
	}
	return a, b
}

func TestLocksOfTwoOpensExcludeEachOther(t *testing.T) {
	t.Parallel()
	whole, other := filelock.Range{}, filelock.Byte(1)
	for _, tt := range []struct {
		held  filelock.Range
		kind  filelock.Kind
		tried filelock.Range
		try   filelock.Kind
		want  error
	}{
		{whole, filelock.Exclusive, whole, filelock.Exclusive, filelock.ErrLocked},
		{whole, filelock.Exclusive, whole, filelock.Shared, filelock.ErrLocked},
		{whole, filelock.Shared, whole, filelock.Exclusive, filelock.ErrLocked},
		{whole, filelock.Shared, whole, filelock.Shared, nil},
		{whole, filelock.Exclusive, other, filelock.Shared, filelock.ErrLocked},
		{filelock.Byte(2), filelock.Exclusive, other, filelock.Exclusive, nil},
		{filelock.Byte(1), filelock.Exclusive, other, filelock.Exclusive, filelock.ErrLocked},
	} {
		a, b := opens(t)
		if err := filelock.Try(a, tt.held, tt.kind); err != nil {
			t.Fatal(err)
		}
		if err := filelock.Try(b, tt.tried, tt.try); !errors.Is(err, tt.want) {
			t.Errorf("%+v: got %v", tt, err)
		}
	}
}

func TestLockIsTurnedAskedAboutAndReleased(t *testing.T) {
	t.Parallel()
	a, b := opens(t)
	held := func(want bool) {
		t.Helper()
		if got, err := filelock.Held(b, filelock.Range{}); err != nil || got != want {
			t.Errorf("held: %v, %v, want %v", got, err, want)
		}
	}
	held(false)
	for _, kind := range []filelock.Kind{filelock.Exclusive, filelock.Shared} {
		if err := filelock.Try(a, filelock.Range{}, kind); err != nil {
			t.Fatal(err)
		}
		held(true)
	}
	if err := filelock.Try(b, filelock.Range{}, filelock.Shared); err != nil {
		t.Errorf("it was not turned: %v", err)
	}
	if err := filelock.Release(a, filelock.Range{}); err != nil {
		t.Fatal(err)
	}
	held(false)
	if err := filelock.Try(a, filelock.Range{}, filelock.Exclusive); !errors.Is(err, filelock.ErrLocked) {
		t.Errorf("got %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := filelock.Try(a, filelock.Range{}, filelock.Exclusive); err != nil {
		t.Errorf("closed: %v", err)
	}
}

func TestWaitTakesALockThatIsGivenBackOrEndsWithItsContext(t *testing.T) {
	t.Parallel()
	a, b := opens(t)
	if err := filelock.Try(a, filelock.Range{}, filelock.Exclusive); err != nil {
		t.Fatal(err)
	}
	reason := errors.New("no more patience")
	ctx, cancel := context.WithCancelCause(t.Context())
	asked := 0
	err := filelock.Repeat(ctx, func() error {
		if asked++; asked == 3 {
			cancel(reason)
		}
		return filelock.Try(b, filelock.Range{}, filelock.Shared)
	})
	if !errors.Is(err, reason) || asked != 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	got := make(chan error, 1)
	go func() { got <- filelock.Wait(t.Context(), b, filelock.Range{}, filelock.Shared) }()
	if err := filelock.Release(a, filelock.Range{}); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// A descriptor that was duplicated is what a process has that is being started.
func TestCloseGivesBackLocksThatACopyOfTheFileStillHas(t *testing.T) {
	t.Parallel()
	a, b := opens(t)
	if err := filelock.Try(a, filelock.Byte(3), filelock.Exclusive); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(a.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	duplicate := os.NewFile(uintptr(fd), a.Name())
	t.Cleanup(func() { _ = duplicate.Close() })
	if err := filelock.Close(a); err != nil {
		t.Fatal(err)
	}
	if err := filelock.Try(b, filelock.Range{}, filelock.Exclusive); err != nil {
		t.Error(err)
	}
}
