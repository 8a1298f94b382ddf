package baseimage_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/baseimage"
)

// A cache outlives the smartvm that made it. This one was made before there were
// initrds.
func TestDescriptionOfABundleWithoutAnInitrdStaysAsItIs(t *testing.T) {
	t.Parallel()
	before, err := os.ReadFile("testdata/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	after, err := baseimage.ReadAndWriteRecord(before, "minimal")
	if diff := cmp.Diff(string(before), string(after)); diff != "" || err != nil {
		t.Errorf("(-before +after):\n%s%v", diff, err)
	}
}

// A manifest may leave hashes and sizes of local files out, a description may not.
func TestDescriptionNeedsHashAndSizeOfEachFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"kernel", "rootfs", "initrd"} {
		for _, key := range []string{"", "sha256", "sizeBytes"} { // "" leaves all there
			var rec map[string]any
			if err := json.Unmarshal(text, &rec); err != nil {
				t.Fatal(err)
			}
			manifest := rec["manifest"].(map[string]any)
			manifest["initrd"] = map[string]any{"path": "/srv/images/i", "fileName": "initrd.img", "sha256": hashA, "sizeBytes": 5}
			delete(manifest[part].(map[string]any), key)
			data, err := json.Marshal(rec)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := baseimage.ReadAndWriteRecord(data, "minimal"); (err == nil) != (key == "") {
				t.Errorf("without %s of %s: %v", key, part, err)
			}
		}
	}
}

// What is read of a cache may be anything. What is accepted has to be whole.
func FuzzParseRecord(f *testing.F) {
	p, cache := newProject(f, "seed"), cacheDir(f)
	ensure(f, open(f, baseimage.Options{CacheDir: cache}), p.request())
	whole, err := os.ReadFile(filepath.Join(cache, "seed", "bundle.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(bytes.Replace(whole, []byte(`"rootfs":`), []byte(`"initrd":{},"rootfs":`), 1))
	p, cache = newInitrdProject(f, "seed"), cacheDir(f)
	ensure(f, open(f, baseimage.Options{CacheDir: cache}), p.request())
	modular, err := os.ReadFile(filepath.Join(cache, "seed", "bundle.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(modular)
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
