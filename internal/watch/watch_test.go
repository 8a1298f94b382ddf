package watch

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func woken(t *testing.T, k *Waker) {
	t.Helper()
	select {
	case <-k.C:
	case <-time.After(10 * time.Second):
		t.Fatal("was not woken")
	}
}

func TestEveryWaiterOfADirectoryIsWoken(t *testing.T) {
	t.Parallel()
	var w Watcher
	dir, other := t.TempDir(), t.TempDir()
	var wakers []*Waker
	for range 300 { // more than the kernel allows inotify instances
		k, err := w.Dir(dir)
		if err != nil {
			t.Fatal(err)
		}
		wakers = append(wakers, k)
	}
	bystander, err := w.Dir(other)
	if err != nil {
		t.Fatal(err)
	}
	wakers[0].Close()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, k := range wakers[1:] {
		woken(t, k)
	}
	if len(wakers[0].C) != 0 || len(bystander.C) != 0 {
		t.Error("woke somebody who does not wait for this directory")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	wakers[1].Close() // after the watcher is harmless
}

func TestWatcherCanBeUsedAgainAfterClose(t *testing.T) {
	t.Parallel()
	var w Watcher
	for range 2 {
		dir := t.TempDir()
		k, err := w.Dir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
			t.Fatal(err)
		}
		woken(t, k)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMissingDirectoryIsAnError(t *testing.T) {
	t.Parallel()
	var w Watcher
	defer w.Close()
	if _, err := w.Dir(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("no error")
	}
}
