package plainfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func openRoot(t *testing.T) *os.Root {
	t.Helper()
	dir, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	return dir
}

func TestOpenInTakesNothingButRegularFiles(t *testing.T) {
	t.Parallel()
	dir := openRoot(t)
	for _, err := range []error{
		dir.WriteFile("file", []byte("text"), 0o600), dir.Symlink("file", "link"), dir.Symlink("none", "dangling"),
		dir.Mkdir("dir", 0o700), unix.Mkfifo(dir.Name()+"/fifo", 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]error{
		"link": ErrIrregular, "dangling": ErrIrregular, "dir": ErrIrregular, "fifo": ErrIrregular, "none": fs.ErrNotExist,
	} {
		if f, _, err := OpenIn(dir, name); !errors.Is(err, want) {
			t.Errorf("%s: got %v, error %v, want %v", name, f, err, want)
		}
	}
	f, info, err := OpenIn(dir, "file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "text" || info.Size() != 4 {
		t.Errorf("read %q of %d bytes, error %v", text, info.Size(), err)
	}
}

func TestDirectoriesCanBeSyncedAndListed(t *testing.T) {
	t.Parallel()
	dir := openRoot(t)
	if err := errors.Join(dir.WriteFile("file", nil, 0o600), SyncIn(dir, "file"), SyncIn(dir, "."), Sync(dir.Name())); err != nil {
		t.Error(err)
	}
	if names, err := NamesIn(dir); err != nil || !slices.Equal(names, []string{"file"}) {
		t.Errorf("names %v, %v", names, err)
	}
	for _, err := range []error{SyncIn(dir, "none"), Sync(dir.Name() + "/none")} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want that it does not exist", err)
		}
	}
}
