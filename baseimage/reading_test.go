package baseimage

import (
	"errors"
	"strconv"
	"testing"
)

func TestTextIsReadAgainOnlyWhenItHasChanged(t *testing.T) {
	t.Parallel()
	var known readings[int]
	reads := 0
	read := func(document, text string) int {
		t.Helper()
		n, err := known.of(document, []byte(text), func() (*int, error) {
			reads++
			n, err := strconv.Atoi(text)
			return &n, err
		})
		if err != nil {
			t.Fatal(err)
		}
		return *n
	}
	for _, text := range []string{"1", "1", "2", "2", "1"} {
		if want, _ := strconv.Atoi(text); read("a", text) != want {
			t.Errorf("%q was read as something else", text)
		}
	}
	if reads != 3 {
		t.Errorf("read %d times, want once for each change", reads)
	}
	n, _ := known.of("a", []byte("1"), nil)
	*n = 7 // a caller's own
	if read("a", "1") != 1 {
		t.Error("a caller has changed what is remembered")
	}
	_, err := known.of("a", []byte("x"), func() (*int, error) { return nil, errors.ErrUnsupported })
	if !errors.Is(err, errors.ErrUnsupported) || read("a", "1") != 1 {
		t.Errorf("%v, want the reader's error and what was known before", err)
	}
	for i := range 3 * mostReadings {
		read(strconv.Itoa(i), "1")
	}
	if len(known.known) > mostReadings {
		t.Errorf("%d texts are remembered", len(known.known))
	}
}
