package fetch_test

import (
	"testing"

	"github.com/smartvm/smartvm/internal/fetch"
)

func TestRedactTellsNoSecret(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]string{
		"https://me:hunter2@h/a%2Fb/k?token=hunter2&hunter2#hunter2": "https://h/a%2Fb/k",
		"https://h/?list-type=2&continuation-token=x&prefix=a%2F":    "https://h/?list-type=2&prefix=a%2F",
		"https://h/k?":             "https://h/k",
		"https://me:hunter2@h/%zz": "a URL that can't be read",
		"file:///srv/m.json":       "file:///srv/m.json",
		"/srv/a?b#c.json":          "/srv/a?b#c.json",
		"../relative:path/m.json":  "../relative:path/m.json",
		"":                         "",
	} {
		if got := fetch.Redact(location); got != want {
			t.Errorf("%q: got %q, want %q", location, got, want)
		}
	}
}
