package pager

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var someFile = identity{pageSize: smallPage, size: 1000 * smallPage, modified: 1_700_000_000_123_456_789}

func TestWorkingSetKeepsTheOrderOfItsPages(t *testing.T) {
	t.Parallel()
	r := newRecorder(1000, nil)
	for _, page := range []uint64{500, 501, 502, 7, 501, 999, 0, 1, 503} {
		r.add(page)
	}
	want := []span{{500, 3}, {7, 1}, {999, 1}, {0, 2}, {503, 1}}
	got, err := decodeSet(encodeSet(someFile, r.rows), someFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(span{})); diff != "" {
		t.Error(diff)
	}
}

// sealed puts rows of numbers into a file that is whole.
func sealed(body ...int64) []byte {
	text := encodeSet(someFile, nil)
	text = text[:len(text)-4]
	for i, n := range body {
		if i%2 == 0 {
			text = binary.AppendVarint(text, n)
		} else {
			text = binary.AppendUvarint(text, uint64(n))
		}
	}
	return binary.LittleEndian.AppendUint32(text, crc32.Checksum(text, checksum))
}

func TestDamagedWorkingSetIsRefused(t *testing.T) {
	t.Parallel()
	good := encodeSet(someFile, []span{{3, 2}, {900, 100}})
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 0x40
		if _, err := decodeSet(bad, someFile); err == nil {
			t.Errorf("a wrong byte %d is not noticed", i)
		}
		if _, err := decodeSet(good[:i], someFile); err == nil {
			t.Errorf("the first %d bytes are taken for all", i)
		}
	}
	for name, text := range map[string][]byte{
		"before the file":  sealed(-1, 1),
		"behind the file":  sealed(1000, 1),
		"beyond its end":   sealed(999, 2),
		"far beyond":       sealed(1, -1),
		"no pages":         sealed(5, 0),
		"more than it may": sealed(0, 1000, -1000, 1000, -1000, maxSet-1999),
		"half a row":       sealed(5),
		"no checksum":      good[:len(good)-4],
	} {
		if rows, err := decodeSet(text, someFile); err == nil {
			t.Errorf("%s: %v", name, rows)
		}
	}
	for _, other := range []identity{
		{hugePage, someFile.size, someFile.modified}, {smallPage, 2 * someFile.size, someFile.modified}, {smallPage, someFile.size, 1},
	} {
		if _, err := decodeSet(good, other); err == nil {
			t.Errorf("it is taken for that of %+v", other)
		}
	}
}

func TestWorkingSetIsBounded(t *testing.T) {
	t.Parallel()
	const pages = 4 * maxSet
	r := newRecorder(pages, nil)
	for page := uint64(0); page < pages; page += 2 { // the worst: no two in a row
		r.add(pages - 1 - page)
	}
	of := identity{smallPage, pages * smallPage, 0}
	text := encodeSet(of, r.rows)
	if r.count != maxSet || len(text) > maxSetFile {
		t.Errorf("%d pages in %d bytes", r.count, len(text))
	}
	if rows, err := decodeSet(text, of); err != nil || len(rows) != maxSet {
		t.Errorf("%d rows come back: %v", len(rows), err)
	}
}

func TestWorkingSetIsWrittenAgainOnlyForManyNewPages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		known, more uint64
		want        bool
	}{
		{0, 0, false}, {0, 1, true}, {100, 0, false}, {100, 24, false}, {100, 25, true},
	} {
		r := newRecorder(1000, []span{{0, tt.known}})
		for page := range tt.more {
			r.add(500 + page)
		}
		if got := r.news(); got != tt.want {
			t.Errorf("%d known and %d more: %t", tt.known, tt.more, got)
		}
	}
}

func TestWorkingSetFileIsReplacedAndReadBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "memory.pages")
	f, err := openSetFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.close() }()
	if _, err := f.read(someFile); !os.IsNotExist(err) {
		t.Errorf("read before it is there: %v", err)
	}
	for _, rows := range [][]span{{{1, 2}}, {{3, 4}}} {
		if err := f.write(someFile, rows); err != nil {
			t.Fatal(err)
		}
		got, err := f.read(someFile)
		if diff := cmp.Diff(rows, got, cmp.AllowUnexported(span{})); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
	if err := os.WriteFile(path, make([]byte, maxSetFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.read(someFile); err == nil {
		t.Error("a huge file is read")
	}
}

func FuzzWorkingSet(f *testing.F) {
	f.Add(encodeSet(someFile, []span{{3, 2}, {900, 100}}))
	f.Add(sealed(-1, 1))
	f.Add([]byte(setMagic))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4 { // let it get beyond the checksum
			body := text[:len(text)-4]
			text = binary.LittleEndian.AppendUint32(slices.Clip(body), crc32.Checksum(body, checksum))
		}
		rows, err := decodeSet(text, someFile)
		if err != nil {
			return
		}
		total := uint64(0)
		for _, row := range rows {
			total += row.count
			if row.count == 0 || row.first+row.count > someFile.size/someFile.pageSize || row.first+row.count < row.first {
				t.Fatalf("%+v", row)
			}
		}
		if total > maxSet {
			t.Fatalf("%d pages", total)
		}
		again, err := decodeSet(encodeSet(someFile, rows), someFile)
		if diff := cmp.Diff(rows, again, cmp.AllowUnexported(span{})); err != nil || diff != "" {
			t.Fatalf("written and read: %v %s", err, diff)
		}
	})
}
