package image_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/image"
)

func TestSumsAreReadAsSha256sumWritesThem(t *testing.T) {
	t.Parallel()
	a, b := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	tests := map[string]struct {
		text string
		want map[string]string // nil = an error
	}{
		"text and binary":       {a + "  one\n" + b + " *two\n", map[string]string{"one": a, "two": b}},
		"the archive's way":     {a + "  ./one\n" + b + "  ./two.debug\n", map[string]string{"one": a, "two.debug": b}},
		"one without a newline": {a + "  one", map[string]string{"one": a}},
		"upper case, CRLF":      {strings.ToUpper(a) + "  one\r\n\r\n", map[string]string{"one": a}},
		"spaces in the name":    {a + "  one two\n", map[string]string{"one two": a}},
		"twice the same":        {a + "  one\n" + a + "  ./one\n", map[string]string{"one": a}},
		"twice another":         {a + "  one\n" + b + "  ./one\n", nil},
		"empty":                 {"", nil},
		"only newlines":         {"\n\n", nil},
		"a hash alone":          {a + "\n", nil},
		"one space":             {a + " one\n", nil},
		"no name":               {a + "  \n", nil},
		"a short hash":          {a[2:] + "  one\n", nil},
		"a long hash":           {a + "a1  one\n", nil},
		"no hash":               {strings.Repeat("x", 64) + "  one\n", nil},
		"an escaped name":       {"\\" + a + "  one\\n\n", nil},
		"a page":                {"<html>\n" + a + "  one\n", nil},
	}
	for name, tt := range tests {
		got, err := image.ParseSums([]byte(tt.text))
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) == (tt.want == nil) {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func FuzzSums(f *testing.F) {
	a := strings.Repeat("a1", 32)
	f.Add([]byte(a + "  one\n" + a + " *./two\n"))
	f.Add([]byte(strings.ToUpper(a) + "  a/b/c\r\n\n"))
	f.Add([]byte(a + "  ..\n" + a + "  /\n"))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sums, err := image.ParseSums(data)
		if (err == nil) == (len(sums) == 0) {
			t.Fatalf("%d hashes with %v", len(sums), err)
		}
		var text strings.Builder
		for name, sum := range sums {
			if len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" || strings.Contains(strings.Trim(name, "/"), "/") {
				t.Errorf("%q for %q", sum, name)
			}
			fmt.Fprintf(&text, "%s  %s\n", sum, name)
		}
		if err != nil {
			return
		}
		again, err := image.ParseSums([]byte(text.String()))
		if diff := cmp.Diff(sums, again); diff != "" || err != nil {
			t.Errorf("written and read again: %v\n%s", err, diff)
		}
	})
}
