package baseimage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
)

// fill puts bundles into a cache, which were used in this order, and closes the
// store that did it.
func fill(tb testing.TB, cache string, ids ...string) {
	tb.Helper()
	s := open(tb, baseimage.Options{CacheDir: cache, Retention: len(ids)})
	for _, id := range ids {
		ensure(tb, s, newProject(tb, id).request())
	}
	shut(tb, s)
}

func TestEnsureEvictsTheLeastRecentlyUsedAndSaysSo(t *testing.T) {
	t.Parallel()
	cache, log := cacheDir(t), &journal{}
	fill(t, cache, "a", "b")
	s := open(t, baseimage.Options{CacheDir: cache, Logger: log.logger()})
	a := newProject(t, "a")
	a.write(t, "a", nil)
	ensure(t, s, newProject(t, "c").request())
	if diff := cmp.Diff([]string{"c", "b"}, list(t, s)); diff != "" {
		t.Error(diff)
	}
	wantText(t, log.String(), "level=WARN", "evicted", "bundle=a")
}

func TestUsingABundleKeepsItLonger(t *testing.T) {
	t.Parallel()
	cache := cacheDir(t)
	a, b, c := newProject(t, "a"), newProject(t, "b"), newProject(t, "c")
	for _, p := range []*project{a, b, a, c} { // a is older than b, but was used after it
		s := open(t, baseimage.Options{CacheDir: cache})
		ensure(t, s, p.request())
		shut(t, s)
	}
	if diff := cmp.Diff([]string{"c", "a"}, list(t, open(t, baseimage.Options{CacheDir: cache}))); diff != "" {
		t.Error(diff)
	}
}

func TestNothingThatIsInUseIsEvicted(t *testing.T) {
	t.Parallel()
	cache, vm := cacheDir(t), t.TempDir()
	fill(t, cache, "free", "pinned", "kept")
	s := open(t, baseimage.Options{CacheDir: cache, Retention: 1})
	if _, err := s.Pin(t.Context(), "pinned", vm); err != nil {
		t.Fatal(err)
	}
	leased := newProject(t, "leased")
	user := open(t, baseimage.Options{CacheDir: cache, Retention: 9})
	ensure(t, user, leased.request())

	evicted, err := s.Prune(t.Context(), "kept")
	if diff := cmp.Diff([]string{"free"}, evicted); diff != "" || err != nil {
		t.Error(diff, err)
	}
	evicted, err = s.Prune(t.Context())
	if diff := cmp.Diff([]string{"kept"}, evicted); diff != "" || err != nil {
		t.Error(diff, err)
	}
	shut(t, user)
	evicted, err = s.Prune(t.Context(), "leased")
	if len(evicted) != 0 || err != nil {
		t.Error(evicted, err)
	}
	if err := os.Remove(vm); err != nil { // the VM is gone, and nobody has released its pin
		t.Fatal(err)
	}
	evicted, err = s.Prune(t.Context(), "leased")
	if diff := cmp.Diff([]string{"pinned"}, evicted); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if diff := cmp.Diff([]string{".lock", ".locks", "leased"}, names(t, cache)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"leased"}, names(t, filepath.Join(cache, ".locks"))); diff != "" {
		t.Error(diff)
	}
}

func TestListTellsSizeAndUse(t *testing.T) {
	t.Parallel()
	cache := cacheDir(t)
	fill(t, cache, "old", "new")
	s := open(t, baseimage.Options{CacheDir: cache})
	if _, err := s.Pin(t.Context(), "old", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, st := range all {
		got = append(got, fmt.Sprintf("%s %d bytes, in use %t, damaged %q, preset %s", st.ID, st.SizeBytes, st.InUse, st.Damaged, st.Preset))
	}
	want := []string{ // a pin is a use
		`old 305000 bytes, in use true, damaged "", preset hosted`,
		`new 305000 bytes, in use false, damaged "", preset hosted`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	b, err := s.Bundle(t.Context(), "new")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&all[1].Bundle, b); diff != "" {
		t.Error(diff)
	}
}

func TestRemoveTakesOnlyBundlesThatNobodyUses(t *testing.T) {
	t.Parallel()
	cache := cacheDir(t)
	fill(t, cache, "gone")
	s := open(t, baseimage.Options{CacheDir: cache})
	for _, id := range []string{"", ".", "..", ".locks", ".lock", "a/b", "gone/..", "/", "absent", "gone/uses"} {
		wantCode(t, s.Remove(t.Context(), id), errcode.BaseImageResolveFailed)
		_, err := s.Bundle(t.Context(), id)
		wantCode(t, err, errcode.BaseImageResolveFailed)
		_, err = s.Pin(t.Context(), id, "/vm")
		wantCode(t, err, errcode.BaseImageResolveFailed)
	}
	vm := t.TempDir()
	pin, err := s.Pin(t.Context(), "gone", vm)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Remove(t.Context(), "gone")
	wantCode(t, err, errcode.BaseImageInUse)
	wantText(t, err.Error(), vm)
	if err := errors.Join(pin.Release(), s.Remove(t.Context(), "gone")); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.Remove(t.Context(), "gone"), errcode.BaseImageResolveFailed)
	if got := names(t, cache); len(got) != 1 {
		t.Errorf("the cache has %v", got)
	}
}

func TestPinIsTheFileThatWasForetold(t *testing.T) {
	t.Parallel()
	cache, vm := cacheDir(t), t.TempDir()
	fill(t, cache, "b")
	s := open(t, baseimage.Options{CacheDir: cache})
	pin, err := s.Pin(t.Context(), "b", vm)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Pin(t.Context(), "b", vm)
	if err != nil || again != pin {
		t.Errorf("pinned again: %+v, error %v", again, err)
	}
	if want := baseimage.PinPath(cache, "b", vm); pin.Path != want {
		t.Errorf("the pin is %s, want %s", pin.Path, want)
	}
	if data, err := os.ReadFile(pin.Path); err != nil || string(data) != vm {
		t.Errorf("it says %q, error %v", data, err)
	}
	if err := errors.Join(pin.Release(), pin.Release()); err != nil {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	if err := pin.Release(); err != nil {
		t.Errorf("release without the bundle: %v", err)
	}
	for _, holder := range []string{"", "relative", "/not/../clean", "/" + string(make([]byte, 5000))} {
		_, err := s.Pin(t.Context(), "b", holder)
		wantCode(t, err, errcode.InvalidConfig)
	}
}

func TestAPinThatWasCutShortHoldsNothing(t *testing.T) {
	t.Parallel()
	cache, vm := cacheDir(t), t.TempDir()
	fill(t, cache, "b")
	uses := filepath.Join(cache, "b", "uses")
	if err := errors.Join(
		os.WriteFile(baseimage.PinPath(cache, "b", vm), []byte(vm[:3]), 0o600),
		os.WriteFile(filepath.Join(uses, "stranger"), []byte(vm), 0o600),
		os.Symlink(vm, filepath.Join(uses, "link")),
		os.Mkdir(filepath.Join(uses, "dir"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	s := open(t, baseimage.Options{CacheDir: cache})
	all, err := s.List(t.Context())
	if err != nil || len(all) != 1 || all[0].InUse {
		t.Errorf("listed as %+v, error %v", all, err)
	}
	if _, err := s.Pin(t.Context(), "b", vm); err != nil { // and is mended
		t.Fatal(err)
	}
	wantCode(t, s.Remove(t.Context(), "b"), errcode.BaseImageInUse)
}

func TestLeftoversOfKilledProcessesAreRemoved(t *testing.T) {
	t.Parallel()
	cache := cacheDir(t)
	fill(t, cache, "b")
	old := time.Now().Add(-48 * time.Hour)
	for _, name := range []string{".new-old", ".new-young", ".new-busy", ".gone-XYZ"} {
		dir := filepath.Join(cache, name)
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "deep"), 0o700), os.WriteFile(filepath.Join(dir, ".rootfs.part"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if name == ".new-old" || name == ".new-busy" {
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(cache, ".locks", "removed-by-hand"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	release, err := baseimage.HoldWork(t.Context(), cache, "busy")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	s := open(t, baseimage.Options{CacheDir: cache})

	// Ensure leaves what another call may go on with.
	ensure(t, s, newProject(t, "c").request())
	if diff := cmp.Diff([]string{".locks", ".new-busy", ".new-young", "b", "c"}, names(t, cache)); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".lock", ".locks", ".new-busy", "b", "c"}, names(t, cache)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"b", "busy", "c"}, names(t, filepath.Join(cache, ".locks"))); diff != "" {
		t.Error(diff)
	}
}

func TestDamagedBundleIsEvictedLikeOthers(t *testing.T) {
	t.Parallel()
	cache := cacheDir(t)
	fill(t, cache, "a", "b")
	if err := os.Remove(filepath.Join(cache, "a", "bundle.json")); err != nil {
		t.Fatal(err)
	}
	s := open(t, baseimage.Options{CacheDir: cache, Retention: 1})
	evicted, err := s.Prune(t.Context())
	if diff := cmp.Diff([]string{"a"}, evicted); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
