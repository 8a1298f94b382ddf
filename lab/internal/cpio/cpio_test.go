package cpio_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/lab/internal/cpio"
)

// entry is what a reader of the kernel's sees.
type entry struct {
	name string
	mode uint32
	data string
}

// read is a reader of the format that takes nothing else.
func read(archive []byte) (entries []entry, err error) {
	at := 0
	for {
		var magic, ino, mode, uid, gid, links, mtime, size, a, b, c, d, nameSize, check uint32
		if len(archive) < at+110 {
			return nil, errors.New("it ends within a header")
		}
		_, err := fmt.Sscanf(string(archive[at:at+110]), "%6x%8x%8x%8x%8x%8x%8x%8x%8x%8x%8x%8x%8x%8x",
			&magic, &ino, &mode, &uid, &gid, &links, &mtime, &size, &a, &b, &c, &d, &nameSize, &check)
		if err != nil || magic != 0x070701 {
			return nil, fmt.Errorf("header at %d: %x, %w", at, magic, err)
		}
		begin := align(at + 110 + int(nameSize))
		end := begin + int(size)
		name := string(bytes.TrimRight(archive[at+110:at+110+int(nameSize)], "\x00"))
		if name == "TRAILER!!!" {
			return entries, nil
		}
		entries = append(entries, entry{name, mode, string(archive[begin:end])})
		at = align(end)
	}
}

func align(n int) int { return (n + 3) / 4 * 4 }

func TestArchiveHasWhatWasAdded(t *testing.T) {
	t.Parallel()
	var archive bytes.Buffer
	w := cpio.NewWriter(&archive)
	w.Dir("dev")
	for i := range 5 { // each remainder of the padding
		w.File(fmt.Sprintf("f%d", i), 0o755, bytes.Repeat([]byte("x"), i))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := read(archive.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{"dev", 0o40755, ""}, {"f0", 0o100755, ""}, {"f1", 0o100755, "x"}, {"f2", 0o100755, "xx"}, {"f3", 0o100755, "xxx"}, {"f4", 0o100755, "xxxx"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{})); diff != "" {
		t.Error(diff)
	}
}

type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestFailedWriteIsToldAtTheEnd(t *testing.T) {
	t.Parallel()
	w := cpio.NewWriter(full{})
	w.File("a", 0o644, []byte("b"))
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
