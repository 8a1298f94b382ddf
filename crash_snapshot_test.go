package smartvm_test

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/smartvm/smartvm"
	"github.com/smartvm/smartvm/internal/fault/faulttest"
	"github.com/smartvm/smartvm/internal/hosttest"
)

// TestNothingHalfMadeIsListedWhereverASnapshotOrACloneIsKilled kills a controller before
// and after effects of two snapshots, one of them a diff, of a clone and of their clean-up:
// at the first point of each name, and at a fourth of the others, by lot. Without a jail a
// clone is made in another order.
func TestNothingHalfMadeIsListedWhereverASnapshotOrACloneIsKilled(t *testing.T) {
	s := newCrashScene(t)
	hosttest.Residue(t, filepath.Dir(s.runtime))
	// What is before is the start, which TestControllerCanBeKilledAtEveryPoint is about.
	killed := s.killFrom(t, "snapshot: draft made")
	for _, point := range []string{
		"snapshot: draft made", "snapshot: memory written", "snapshot: drives copied", "snapshot: finished", "snapshot: named", "snapshot: committed",
		"snapshot: base copied", "snapshot: layers merged", "snapshot: merged", "make snapshot-pin: made", "restore: configured", "restore: loaded",
	} {
		if killed[point] == 0 {
			t.Errorf("was never killed at %q; points: %v", point, killed)
		}
	}
	t.Setenv("SMARTVM_TEST_JAIL", "0")
	killed = s.killFrom(t, "snapshot: merged")
	for _, point := range []string{"make process: made", "make snapshot-pin: made", "make staging: made", "restore: configured", "restore: loaded"} {
		if killed[point] == 0 {
			t.Errorf("without a jail, was never killed at %q; points: %v", point, killed)
		}
	}
}

// killFrom kills a controller at its points, the first of which is given, and returns how
// often it did so at each.
func (s *crashScene) killFrom(t *testing.T, first string) map[string]int {
	t.Helper()
	killed := map[string]int{}
	points := faulttest.Points(t, s.command("snapshot"))
	s.removeAll(t)
	turn, begin := rand.N(4), slices.Index(points, first)
	passed := map[string]int{}
	for i, point := range points {
		passed[point]++
		again := slices.Contains(points[begin:max(i, begin)], point)
		if i < begin || again && i%4 != turn || t.Failed() {
			continue
		}
		// By name, since a restore does several things at once.
		if faulttest.RunTo(t, point, passed[point], s.command("snapshot")) {
			killed[point]++
		}
		s.removeAll(t)
		if left := s.left(t); len(left) > 0 {
			t.Errorf("killed at %q for the %d. time: left %s", point, passed[point], strings.Join(left, "\n"))
		}
	}
	t.Logf("%d points, killed at %d different ones", len(points)-begin, len(killed))
	return killed
}

// removeAll does what the next process does: it adopts what runs, collects the rest, and
// removes the snapshots that are listed, all of which have to be whole.
func (s *crashScene) removeAll(t *testing.T) {
	t.Helper()
	m, err := smartvm.New(smartvm.Options{RuntimeDir: s.runtime, DataDir: s.data, FirecrackerPath: s.firecracker, Jail: smartvm.JailOptions{LeaseDir: usersIn(s.data)}})
	must(t, err)
	defer func() { must(t, m.Close()) }()
	_, err = m.GC(t.Context(), smartvm.GCOptions{})
	must(t, err)
	entries, err := m.Inventory(t.Context())
	must(t, err)
	for _, e := range entries {
		vm, err := m.Adopt(t.Context(), e.ID)
		must(t, err)
		must(t, vm.Cleanup(t.Context()))
	}
	store := m.Snapshots()
	all, err := store.List()
	must(t, err)
	for _, about := range slices.Backward(all) { // warm has to outlive the diff that follows it
		if about.Name == "later" {
			_, err := store.Memory(t.Context(), about)
			must(t, err)
		}
		_, err := store.Check(t.Context(), about.Name)
		must(t, err)
	}
	for _, about := range all { // later comes first
		must(t, store.Remove(t.Context(), about.Name))
	}
	draft, err := store.Draft(t.Context(), "sweep") // as whoever makes the next one
	must(t, err)
	must(t, draft.Discard())
	left, err := filepath.Glob(filepath.Join(store.Dir(), ".*"))
	must(t, err)
	if len(left) != 1 { // the lock
		t.Errorf("left in the store: %q", left)
	}
}
