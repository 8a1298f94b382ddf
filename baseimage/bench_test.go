package baseimage_test

import (
	"crypto/sha256"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/smartvm/smartvm/baseimage"
)

// largeProject has files of the size that Firecracker's CI publishes.
func largeProject(b *testing.B) *project {
	b.Helper()
	p := newProject(b, "large")
	p.kernel, p.rootfs = content(40<<20), content(100<<20)
	p.write(b, "large", nil)
	return p
}

// The same process asks again: must stay below 1 ms.
func BenchmarkEnsureAgain(b *testing.B) {
	p := largeProject(b)
	s := open(b, baseimage.Options{CacheDir: cacheDir(b)})
	ensure(b, s, p.request())
	for b.Loop() {
		ensure(b, s, p.request())
	}
}

// A new process asks: must stay within 1.1 times BenchmarkHashBothFiles.
func BenchmarkEnsureInNewStore(b *testing.B) {
	p, cache := largeProject(b), cacheDir(b)
	ensure(b, open(b, baseimage.Options{CacheDir: cache}), p.request())
	b.SetBytes(int64(len(p.kernel) + len(p.rootfs)))
	for b.Loop() {
		s, err := baseimage.Open(baseimage.Options{CacheDir: cache, Arch: "x86_64"})
		if err != nil {
			b.Fatal(err)
		}
		ensure(b, s, p.request())
		shut(b, s)
	}
}

// The floor: both files are hashed at once.
func BenchmarkHashBothFiles(b *testing.B) {
	p := largeProject(b)
	bundle := ensure(b, open(b, baseimage.Options{CacheDir: cacheDir(b)}), p.request())
	b.SetBytes(int64(len(p.kernel) + len(p.rootfs)))
	for b.Loop() {
		var group sync.WaitGroup
		for _, path := range []string{bundle.Kernel.Path, bundle.Rootfs.Path} {
			group.Go(func() {
				f, err := os.Open(path)
				if err != nil {
					b.Error(err)
					return
				}
				defer f.Close()
				if _, err := io.Copy(sha256.New(), f); err != nil {
					b.Error(err)
				}
			})
		}
		group.Wait()
	}
}
