package snapshot_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/snapshot"
)

// injuries are what may happen to a file of a snapshot; each returns what Check says.
var injuries = map[string]struct {
	says   string
	injure func(t *testing.T, path string) error
}{
	"changed": {"changed", func(t *testing.T, path string) error {
		t.Helper()
		f, err := os.OpenFile(path, os.O_RDWR, 0) // root may
		if errors.Is(err, os.ErrPermission) {
			must(t, os.Chmod(path, 0o600))
			f, err = os.OpenFile(path, os.O_RDWR, 0)
		}
		must(t, err)
		other := make([]byte, 1)
		_, err = f.ReadAt(other, 1)
		must(t, err)
		other[0]++
		before, err := f.Stat()
		must(t, err)
		for now := before; snapshot.Stamp(now) == snapshot.Stamp(before); { // the kernel's clock may tick once in some milliseconds
			_, err = f.WriteAt(other, 1)
			must(t, err)
			now, err = f.Stat()
			must(t, err)
		}
		return f.Close()
	}},
	"truncated": {"bytes", func(t *testing.T, path string) error {
		t.Helper()
		must(t, os.Chmod(path, 0o600))
		return os.Truncate(path, 1)
	}},
	"deleted": {"gone", func(_ *testing.T, path string) error { return os.Remove(path) }},
	"replaced by the same": {"took its place", func(t *testing.T, path string) error {
		t.Helper()
		data, err := os.ReadFile(path)
		must(t, err)
		write(t, path+".new", data)
		return os.Rename(path+".new", path)
	}},
	"link": {"bytes", func(t *testing.T, path string) error {
		t.Helper()
		outside := filepath.Join(t.TempDir(), "outside")
		return errors.Join(os.Rename(path, outside), os.Symlink(outside, path))
	}},
	"FIFO": {"bytes", func(_ *testing.T, path string) error {
		return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
	}},
}

func TestCheckNoticesWhateverHappensToAFile(t *testing.T) {
	t.Parallel()
	for name, tt := range injuries {
		for _, part := range []string{"state", "memory", "disk-own"} {
			t.Run(name+" "+part, func(t *testing.T) {
				t.Parallel()
				s := store(t)
				rich(t, s, "warm")
				_, err := s.Check(t.Context(), "warm")
				must(t, err)
				must(t, tt.injure(t, filepath.Join(s.Path("warm"), part)))
				e := wantCode(t, second(s.Check(t.Context(), "warm")), errcode.InvalidSnapshot)
				if len(e.Details) != 1 || e.Details[0].Field != part || !strings.Contains(e.Details[0].Message, tt.says) {
					t.Errorf("got %+v, want %q about %s", e.Details, tt.says, part)
				}
				_, err = s.Verify(t.Context(), "warm")
				if same := part == "state" && name == "replaced by the same"; same != (err == nil) { // it alone has a hash from the start
					t.Errorf("verified with %v", err)
				}
			})
		}
	}
}

func TestCheckNoticesASharedDriveThatChanged(t *testing.T) {
	t.Parallel()
	s := store(t)
	_, shared := rich(t, s, "warm")
	data, err := os.ReadFile(shared)
	must(t, err)
	must(t, os.Remove(shared))
	wantCode(t, second(s.Check(t.Context(), "warm")), errcode.InvalidSnapshot)
	write(t, shared, append(data, "more"...))
	e := wantCode(t, second(s.Check(t.Context(), "warm")), errcode.InvalidSnapshot)
	if len(e.Details) != 1 || e.Details[0].Field != "drive shared" {
		t.Errorf("got %+v", e.Details)
	}
}

func TestVerifyTrustsAgainWhatIsProvenToBeTheSame(t *testing.T) {
	t.Parallel()
	s := store(t)
	_, shared := rich(t, s, "warm")
	copied := func() {
		t.Helper()
		for _, path := range []string{filepath.Join(s.Path("warm"), "memory"), filepath.Join(s.Path("warm"), "disk-own"), shared} {
			must(t, injuries["replaced by the same"].injure(t, path))
		}
	}
	m, err := s.Verify(t.Context(), "warm")
	must(t, err)
	for _, hash := range []string{m.State.SHA256, m.Memory.SHA256, m.Drives[0].File.SHA256, m.Drives[1].File.SHA256} {
		if len(hash) != 64 {
			t.Errorf("%q is no hash", hash)
		}
	}
	again, err := s.Get("warm")
	if err != nil || again.Memory != m.Memory {
		t.Errorf("it was not written down: %+v, %v", again, err)
	}
	info, err := os.Stat(filepath.Join(s.Path("warm"), snapshot.ManifestFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the manifest has mode %v, %v", info.Mode(), err)
	}
	copied()
	wantCode(t, second(s.Check(t.Context(), "warm")), errcode.InvalidSnapshot)
	_, err = s.Verify(t.Context(), "warm")
	must(t, err)
	_, err = s.Check(t.Context(), "warm")
	must(t, err)
}

func TestVerifyDoesNotTrustWhatNobodyHasHashed(t *testing.T) {
	t.Parallel()
	s := store(t)
	rich(t, s, "warm")
	must(t, injuries["replaced by the same"].injure(t, filepath.Join(s.Path("warm"), "memory")))
	e := wantCode(t, second(s.Verify(t.Context(), "warm")), errcode.InvalidSnapshot)
	if len(e.Details) != 1 || e.Details[0].Field != "memory" || !strings.Contains(e.Details[0].Message, "never hashed") {
		t.Errorf("got %+v", e.Details)
	}
	// What it could prove, it has.
	m, err := s.Get("warm")
	if err != nil || m.Memory.SHA256 != "" || m.Drives[0].File.SHA256 == "" {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestVerifyFindsABitThatADiskHasFlipped(t *testing.T) {
	t.Parallel()
	s := store(t)
	rich(t, s, "warm")
	_, err := s.Verify(t.Context(), "warm")
	must(t, err)
	corrupt(t, filepath.Join(s.Path("warm"), "disk-own"))
	_, err = s.Check(t.Context(), "warm") // which reads nothing
	must(t, err)
	e := wantCode(t, second(s.Verify(t.Context(), "warm")), errcode.InvalidSnapshot)
	if len(e.Details) != 1 || e.Details[0].Field != "disk-own" || !strings.Contains(e.Details[0].Message, "SHA-256") {
		t.Errorf("got %+v", e.Details)
	}
}

func TestMergedMemoryIsCheckedVerifiedAndMadeAgain(t *testing.T) {
	t.Parallel()
	s := store(t)
	full := put(t, s, "full", nil, 4, map[int][]byte{0: content(page)})
	diff := put(t, s, "diff", full, 4, map[int][]byte{1: content(page)})
	path, err := s.Memory(t.Context(), diff)
	must(t, err)
	want, err := os.ReadFile(path)
	must(t, err)
	_, err = s.Verify(t.Context(), "diff")
	must(t, err)

	must(t, injuries["replaced by the same"].injure(t, path))
	wantCode(t, second(s.Check(t.Context(), "diff")), errcode.InvalidSnapshot)
	_, err = s.Verify(t.Context(), "diff")
	must(t, err)
	_, err = s.Check(t.Context(), "diff")
	must(t, err)

	must(t, injuries["changed"].injure(t, path))
	wantCode(t, second(s.Check(t.Context(), "diff")), errcode.InvalidSnapshot)
	wantCode(t, second(s.Verify(t.Context(), "diff")), errcode.InvalidSnapshot)
	wantCode(t, second(s.Memory(t.Context(), diff)), errcode.InvalidSnapshot)

	must(t, os.Remove(path)) // its layers are still there
	wantCode(t, s.Remove(t.Context(), "full"), errcode.SnapshotInUse)
	_, err = s.Memory(t.Context(), diff)
	must(t, err)
	if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
		t.Errorf("merged again to other content (%v)", err)
	}
	must(t, s.Remove(t.Context(), "full"))
}
