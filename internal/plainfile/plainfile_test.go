package plainfile

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatIsWrittenIsReadAndListed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"a longer text", "short"} { // the second replaces the first
		if err := Write(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path); err != nil || string(got) != text {
			t.Errorf("read %q, %v, want %q", got, err, text)
		}
	}
	if names, err := Names(dir); err != nil || !slices.Equal(names, []string{"f"}) {
		t.Errorf("names %v, %v", names, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&0o777 != 0o600 {
		t.Errorf("mode %o, %v, want 0600", st.Mode&0o777, err)
	}
}

func TestMissingFileIsNotExist(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing")
	_, read := Read(path)
	_, list := Names(path)
	for _, err := range []error{read, list, Write(filepath.Join(path, "f"), nil)} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want that it does not exist", err)
		}
	}
}
