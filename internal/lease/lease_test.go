package lease_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/smartvm/smartvm/internal/lease"
)

// desk is a directory of leases, and some VMs.
type desk struct {
	lease.Desk

	t *testing.T
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	return &desk{lease.Desk{Dir: filepath.Join(t.TempDir(), "leases")}, t}
}

func (d *desk) holder(name string) string {
	d.t.Helper()
	dir := filepath.Join(d.t.TempDir(), name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		d.t.Fatal(err)
	}
	return dir
}

func (d *desk) take(holder string, names ...string) (*lease.Lease, error) {
	return d.Take("thing", holder, slices.Values(names), func(_ *lease.Lease, effect func() error) error { return effect() })
}

// want takes a lease that has to be a certain one, "" for none.
func (d *desk) want(name, holder string, names ...string) *lease.Lease {
	d.t.Helper()
	l, err := d.take(holder, names...)
	if name == "" {
		if !errors.Is(err, lease.ErrNone) {
			d.t.Errorf("got %+v, %v; want that all are in use", l, err)
		}
		return nil
	}
	if err != nil || l.Name != name {
		d.t.Fatalf("got %+v, %v; want %s", l, err, name)
	}
	return l
}

func TestThingHasOneHolderUntilItIsReleased(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.holder("a"), d.holder("b")
	first := d.want("1", a, "1", "2")
	d.want("2", b, "1", "2")
	d.want("", b, "1", "2")
	for range 2 { // the second has nothing to do
		if err := first.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d.want("1", b, "1", "2")
	if err := first.Release(t.Context()); err != nil { // it is b's by now
		t.Fatal(err)
	}
	d.want("", a, "1", "2")
}

func TestLeaseOfAVMThatIsGoneIsFree(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.holder("a"), d.holder("b")
	d.want("1", a, "1")
	d.want("", b, "1")
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	d.want("1", b, "1")
	if err := os.WriteFile(filepath.Join(d.Dir, "2"), nil, 0o600); err != nil { // as a kill leaves it
		t.Fatal(err)
	}
	d.want("2", b, "2")
	if err := os.WriteFile(a, nil, 0o600); err != nil { // where its runtime directory was
		t.Fatal(err)
	}
	d.want("3", filepath.Join(a, "vm"), "3")
	d.want("3", b, "3")
}

func TestLeaseIsRecordedBeforeItIsTaken(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	broken := errors.New("the disk is full")
	_, err := d.Take("thing", d.holder("a"), slices.Values([]string{"1"}), func(l *lease.Lease, _ func() error) error {
		if _, err := os.Lstat(filepath.Join(l.Dir, l.Name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is taken already: %v", err)
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	d.want("1", d.holder("b"), "1")
}

func TestManyAtOnceGetOneEach(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const n = 32
	var names []string
	for i := range n {
		names = append(names, strconv.Itoa(i))
	}
	holder := d.holder("a")
	var mu sync.Mutex
	got := make(map[string]int)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			l, err := d.take(holder, names...)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			got[l.Name]++
		})
	}
	wg.Wait()
	if len(got) != n {
		t.Errorf("%d leases for %d", len(got), n)
	}
}

func TestDirectoryThatIsGoneIsMadeAgain(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.want("1", d.holder("a"), "1")
	if err := os.RemoveAll(d.Dir); err != nil {
		t.Fatal(err)
	}
	d.want("1", d.holder("b"), "1")
}

func TestDirectoryThatOthersMayWriteIsRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	d := &desk{lease.Desk{Dir: dir}, t}
	if l, err := d.take(d.holder("a"), "1"); err == nil {
		t.Errorf("got %+v", l)
	}
}
