package baseimage_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/smartvm/smartvm/baseimage"
)

// What is read of a cache may be anything. What is accepted has to be whole.
func FuzzParseRecord(f *testing.F) {
	p, cache := newProject(f, "seed"), cacheDir(f)
	ensure(f, open(f, baseimage.Options{CacheDir: cache}), p.request())
	whole, err := os.ReadFile(filepath.Join(cache, "seed", "bundle.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte(`{"preset":"latest","manifest":{}}`))
	f.Add([]byte(`{"preset":"hosted","preset":"lts"}`))
	f.Add([]byte(`{"createdAt":"yesterday"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		again, err := baseimage.ReadAndWriteRecord(data, "seed")
		if err != nil {
			return
		}
		if _, err := baseimage.ReadAndWriteRecord(again, "seed"); err != nil {
			t.Errorf("it is not accepted again: %v\n%s", err, again)
		}
	})
}
