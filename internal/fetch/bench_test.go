package fetch_test

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"testing"

	"github.com/smartvm/smartvm/internal/fetch"
	"github.com/smartvm/smartvm/internal/fetch/fetchtest"
)

// BenchmarkFile downloads and verifies 300 MB from loopback, into memory and onto
// the disk of the temporary directory. The floor is curl, then sha256sum.
func BenchmarkFile(b *testing.B) {
	data := make([]byte, 300_000_000)
	if _, err := rand.Read(data); err != nil {
		b.Fatal(err)
	}
	site := fetchtest.New(b)
	site.Put("/image", data)
	src := fetch.Source{URL: site.URL("/image"), SHA256: fmt.Sprintf("%x", sha256.Sum256(data)), Size: int64(len(data))}
	memory, err := os.MkdirTemp("/dev/shm", "fetch-bench-") //nolint:usetesting // the place is the point
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(memory) })
	for place, path := range map[string]string{"memory": memory, "disk": b.TempDir()} {
		b.Run(place, func(b *testing.B) {
			dir, err := os.OpenRoot(path)
			if err != nil {
				b.Fatal(err)
			}
			defer dir.Close()
			f := fetch.New(fetch.Options{Transport: site.Transport()})
			b.SetBytes(src.Size)
			for b.Loop() {
				if _, err := f.File(b.Context(), src, dir, "image"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
