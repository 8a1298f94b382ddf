package pager

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPagesOfTheFileHaveOnePlaceEach(t *testing.T) {
	t.Parallel()
	// As of a guest with more than 3 GiB: the second region is elsewhere in memory, here below the first.
	l, err := parseLayout([]byte(`[
		{"base_host_virt_addr":1048576,"size":12288,"offset":0,"page_size":4096,"page_size_kib":4096,"new":true},
		{"base_host_virt_addr":65536,"size":8192,"offset":12288,"page_size":4096}]`), 5*smallPage)
	if err != nil {
		t.Fatal(err)
	}
	for page, want := range []struct{ at, row uint64 }{
		{1048576, 3}, {1048576 + 4096, 2}, {1048576 + 8192, 1}, {65536, 2}, {65536 + 4096, 1},
	} {
		at, row := l.address(uint64(page))
		if at != want.at || row != want.row {
			t.Errorf("page %d is at %d with %d in a row, want %+v", page, at, row, want)
		}
		for _, offset := range []uint64{0, 1, 4095} {
			if got, ok := l.page(at + offset); !ok || got != uint64(page) {
				t.Errorf("at %d is page %d, %t, want %d", at+offset, got, ok, page)
			}
		}
	}
	for _, address := range []uint64{0, 65535, 65536 + 8192, 1048575, 1048576 + 12288, 1<<64 - 1} {
		if page, ok := l.page(address); ok {
			t.Errorf("at %d is page %d, want none", address, page)
		}
	}
	for _, tt := range []struct {
		start, end uint64
		want       []span
	}{
		{0, 1 << 63, []span{{3, 2}, {0, 3}}},
		{1048576 + 1, 1048576 + 12287, []span{{1, 1}}}, // what is not whole stays
		{1048576 + 1, 1048576 + 4096, nil},
		{65536, 65536 + 4096, []span{{3, 1}}},
		{65536 + 8192, 1048576, nil},
		{1048576 + 4096, 1048576, nil}, // the wrong way round
	} {
		if diff := cmp.Diff(tt.want, l.inside(tt.start, tt.end), cmp.AllowUnexported(span{})); diff != "" {
			t.Errorf("from %d to %d: %s", tt.start, tt.end, diff)
		}
	}
}

func describe(base, size, offset, page uint64) string {
	return fmt.Sprintf(`{"base_host_virt_addr":%d,"size":%d,"offset":%d,"page_size":%d}`, base, size, offset, page)
}

func TestRegionsThatDoNotHoldUpAreRefused(t *testing.T) {
	t.Parallel()
	const file = 4 * hugePage
	for name, tt := range map[string]struct {
		regions []string
		reason  string
	}{
		"empty":                 {[]string{describe(0, 0, 0, smallPage)}, "empty"},
		"odd page size":         {[]string{describe(0, file, 0, 8192)}, "8192"},
		"two page sizes":        {[]string{describe(0, file/2, 0, smallPage), describe(file, file/2, file/2, hugePage)}, "elsewhere"},
		"part of a page":        {[]string{describe(0, file-1, 0, smallPage)}, "whole pages"},
		"small address":         {[]string{describe(smallPage, file, 0, hugePage)}, "whole pages"},
		"end of memory":         {[]string{describe(1<<64-smallPage, file, 0, smallPage)}, "end of memory"},
		"larger than the file":  {[]string{describe(0, 2*file, 0, smallPage)}, "beyond the end of the memory file"},
		"behind the file":       {[]string{describe(0, file, smallPage, smallPage)}, "beyond the end of the memory file"},
		"far behind the file":   {[]string{describe(0, file, 1<<64-smallPage, smallPage)}, "beyond the end of the memory file"},
		"smaller than the file": {[]string{describe(0, file/2, 0, smallPage)}, "the memory file"},
		"one over the other":    {[]string{describe(0, file/2, 0, smallPage), describe(file/4, file/2, file/2, smallPage)}, "overlap"},
		"the same twice":        {[]string{describe(0, file/2, 0, smallPage), describe(file, file/2, 0, smallPage)}, "begins at byte 0"},
		"a gap in the file":     {[]string{describe(0, file/4, 0, smallPage), describe(file, file/2, file/2, smallPage)}, "begins at byte"},
		"negative":              {[]string{`{"size":-1}`}, "cannot unmarshal"},
		"not even a region":     {[]string{"7"}, "cannot unmarshal"},
	} {
		_, err := parseLayout([]byte("["+strings.Join(tt.regions, ",")+"]"), file)
		if err == nil || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("%s: %v, want %q in it", name, err, tt.reason)
		}
	}
}

func FuzzLayout(f *testing.F) {
	const file = 2 * hugePage
	for _, text := range []string{
		"[" + describe(1<<40, file, 0, smallPage) + "]",
		"[" + describe(1<<40, file/2, file/2, hugePage) + "," + describe(1<<41, file/2, 0, hugePage) + "]",
		"[]", "[{}]", `[{"size":1e30}]`,
	} {
		f.Add([]byte(text), uint64(1<<40))
	}
	f.Fuzz(func(t *testing.T, text []byte, address uint64) {
		l, err := parseLayout(text, file)
		if err != nil {
			return
		}
		for page := range l.pages { // each is somewhere, and found there again
			at, row := l.address(page)
			if got, ok := l.page(at); !ok || got != page || row == 0 || page+row > l.pages {
				t.Fatalf("page %d is at %d with %d in a row, where page %d, %t is", page, at, row, got, ok)
			}
		}
		if page, ok := l.page(address); ok && page >= l.pages {
			t.Fatalf("at %d is page %d of %d", address, page, l.pages)
		}
		for _, s := range l.inside(address, address+file) {
			if s.count == 0 || s.first+s.count > l.pages {
				t.Fatalf("%+v of %d pages", s, l.pages)
			}
		}
	})
}
