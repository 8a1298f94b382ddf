package vmconfig_test

import (
	"strings"
	"testing"

	"github.com/smartvm/smartvm/vmconfig"
)

func TestParseIDAcceptsWhatFirecrackerDoes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a", "-", "vm-1", "A9", strings.Repeat("x", 64)} {
		if id, err := vmconfig.ParseID(text); err != nil || string(id) != text {
			t.Errorf("%q: got %q, %v", text, id, err)
		}
	}
}

func TestParseIDSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"", "id: is empty\n"},
		{strings.Repeat("x", 65), "id: has 65 bytes, at most 64 are allowed\n"},
		{"a_b", "id: \"a_b\" has a character other than letters, digits and '-' at position 2\n"},
		{"../x", "id: \"../x\" has a character other than letters, digits and '-' at position 1\n"},
		{"é", "id: \"é\" has a character other than letters, digits and '-' at position 1\n"},
		{"a\x00", "id: \"a\\x00\" has a character other than letters, digits and '-' at position 2\n"},
	}
	for _, tt := range tests {
		if id, err := vmconfig.ParseID(tt.text); err == nil {
			t.Errorf("%q: accepted as %q", tt.text, id)
		} else if got := mistakes(t, err); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestNewIDIsValidAndNotRepeated(t *testing.T) {
	t.Parallel()
	seen := map[vmconfig.ID]bool{}
	for range 100 {
		id := vmconfig.NewID()
		if _, err := vmconfig.ParseID(string(id)); err != nil || seen[id] {
			t.Errorf("%q: seen %v, %v", id, seen[id], err)
		}
		seen[id] = true
	}
}
