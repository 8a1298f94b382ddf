package digest_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/smartvm/smartvm/internal/digest"
)

func sumOf(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

func create(t *testing.T, path, text string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f
}

func sum(t *testing.T, m *digest.Memory, f *os.File) string {
	t.Helper()
	text, err := m.SHA256(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestHashIsThatOfTheContentWhateverTheOffset(t *testing.T) {
	t.Parallel()
	f := create(t, filepath.Join(t.TempDir(), "f"), "hello")
	var m digest.Memory
	for range 2 {
		if got := sum(t, &m, f); got != sumOf("hello") {
			t.Errorf("got %s", got)
		}
	}
	if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != 5 {
		t.Errorf("the offset is %d, %v", at, err)
	}
}

func TestEveryChangeIsSeen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	var m digest.Memory
	f := create(t, path, "hello")
	sum(t, &m, f)

	long := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	changes := map[string]func() error{
		"a byte with its old time": func() error {
			info, err := f.Stat()
			_, write := f.WriteAt([]byte("J"), 0)
			return errors.Join(err, write, os.Chtimes(path, long, info.ModTime()))
		},
		"a longer one":  func() error { _, err := f.WriteAt([]byte("JELLO, world"), 0); return err },
		"a shorter one": func() error { return f.Truncate(3) },
	}
	for name, change := range changes {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // read, and remembered
			if got := sum(t, &m, f); got != sumOf(string(text)) {
				t.Errorf("%s: got another hash", name)
			}
		}
	}

	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if got := sum(t, &m, create(t, path, "other")); got != sumOf("other") {
		t.Error("another file of the name: got another hash")
	}
}

// A file that was changed just now could be changed again without a trace.
func TestManyChangesAtOnceAreAllSeen(t *testing.T) {
	t.Parallel()
	f := create(t, filepath.Join(t.TempDir(), "f"), "0000")
	var m digest.Memory
	for i := range 200 {
		text := fmt.Sprintf("%04d", i)
		if _, err := f.WriteAt([]byte(text), 0); err != nil {
			t.Fatal(err)
		}
		if got := sum(t, &m, f); got != sumOf(text) {
			t.Fatalf("change %d was not seen", i)
		}
	}
}

// Through a descriptor that is not open for reading only a known hash can be had.
// That of a file which was written just now is one, too.
func TestKnownFileIsNotReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	f := create(t, path, "hello")
	var m digest.Memory
	sum(t, &m, f)
	writer, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if got, err := m.SHA256(t.Context(), writer); err != nil || got != sumOf("hello") {
		t.Errorf("got %q, %v: it was read again", got, err)
	}
	if got, err := m.Afresh(t.Context(), writer); err == nil {
		t.Errorf("afresh: got %q, and it can't have been read", got)
	}
}

func TestLearnedHashCountsUntilTheFileChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	f := create(t, path, "hello")
	var m digest.Memory
	if err := m.Learn(t.Context(), f, "learned"); err != nil {
		t.Fatal(err)
	}
	if got := sum(t, &m, f); got != "learned" {
		t.Errorf("got %s", got)
	}
	if got, err := m.Afresh(t.Context(), f); err != nil || got != sumOf("hello") {
		t.Errorf("afresh: got %s, %v", got, err)
	}
	if err := errors.Join(m.Learn(t.Context(), f, "learned"), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	if got := sum(t, &m, f); got != sumOf("hello") {
		t.Errorf("changed: got %s", got)
	}
}

func TestContextEndsTheReading(t *testing.T) {
	t.Parallel()
	reason := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	f := create(t, filepath.Join(t.TempDir(), "f"), "hello")
	var m digest.Memory
	if _, err := m.SHA256(ctx, f); !errors.Is(err, reason) {
		t.Errorf("got %v", err)
	}
}
