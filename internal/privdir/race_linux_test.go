package privdir_test

import (
	"errors"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/privdir"
)

// A stranger swaps a directory on the way for a link, again and again. Ensure
// may fail, but must never make, or hand out, what lies behind the link.
func TestSwappedLinkNeverLeadsOutside(t *testing.T) {
	needRoot(t)
	for name, planted := range map[string]bool{"to nothing": false, "to the same names": true} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			mkdir(t, base+"/outside", 0o700, -1)
			if planted {
				must(t, os.MkdirAll(base+"/outside/y/z", 0o700))
			}
			mkdir(t, base+"/x", 0o700, -1)
			must(t, os.Symlink(base+"/outside", base+"/link"), os.Lchown(base+"/link", stranger, stranger))
			stop := swap(t, base+"/x", base+"/link")
			made, refused := 0, 0
			for range 5000 {
				dir, err := privdir.Ensure(base + "/x/y/z")
				switch {
				case err == nil:
					made++
					checkInside(t, dir, base+"/outside/y/z")
					// Both names: the directory has one of them, the link is not followed.
					_ = os.Remove(base + "/x/y/z")
				case errors.Is(err, errcode.InsecurePath), errors.Is(err, errcode.DirectoryFailed):
					refused++
				default:
					t.Error(err)
				}
			}
			stop()
			if made == 0 || refused == 0 {
				t.Errorf("no race: %d made, %d refused", made, refused)
			}
			if list, err := os.ReadDir(base + "/outside"); err != nil || len(list) != 0 && !planted {
				t.Errorf("made %v behind the link, %v", list, err)
			}
		})
	}
}

// swap exchanges the two names until it is told to stop.
func swap(t *testing.T, a, b string) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	return func() { close(done); group.Wait() }
}

// checkInside closes dir, which must not be the one at outside.
func checkInside(t *testing.T, dir *privdir.Dir, outside string) {
	t.Helper()
	got, err := dir.Root().Stat(".")
	must(t, err)
	if other, err := os.Stat(outside); err == nil && os.SameFile(got, other) {
		t.Error("handed out the directory behind the link")
	}
	must(t, dir.Close())
}

func TestConcurrentEnsureMakesOneDirectory(t *testing.T) {
	base := t.TempDir()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			dir, err := privdir.Ensure(base + "/a/b/c/d")
			if err != nil {
				t.Error(err)
				return
			}
			if err := dir.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
