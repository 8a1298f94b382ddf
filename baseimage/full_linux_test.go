package baseimage_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/hosttest"
)

func TestFullDiskIsNoSpaceAndKeepsNothing(t *testing.T) {
	t.Parallel()
	hosttest.Isolate(t)
	for name, edit := range map[string]func(*baseimage.Manifest){
		"copied": nil,
		"downloaded": func(m *baseimage.Manifest) {
			m.Kernel.Path, m.Kernel.URL = "", "file://"+m.Kernel.Path
			m.Rootfs.Path, m.Rootfs.URL = "", "file://"+m.Rootfs.Path
		},
	} {
		p, cache := newProject(t, "big"), cacheDir(t)
		p.rootfs = content(3 << 20)
		p.write(t, "big", edit)
		if err := os.Mkdir(cache, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", cache, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
			t.Fatal(err)
		}
		s := open(t, baseimage.Options{CacheDir: cache})
		_, err := s.Ensure(t.Context(), p.request())
		wantCode(t, err, errcode.NoSpace)
		if got := names(t, cache); len(got) != 1 { // the locks
			t.Errorf("%s: left in the cache: %v", name, got)
		}
		shut(t, s)
		if err := unix.Unmount(cache, 0); err != nil {
			t.Errorf("%s: something is still open: %v", name, err)
		}
	}
}
