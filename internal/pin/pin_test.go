package pin_test

import (
	"path/filepath"
	"testing"

	"github.com/smartvm/smartvm/internal/pin"
)

func TestPinHoldsAsLongAsItsHolderExists(t *testing.T) {
	t.Parallel()
	there := t.TempDir()
	gone := filepath.Join(there, "gone")
	for _, tt := range []struct {
		what, name, holder string
		want               bool
	}{
		{"a directory that is there", pin.Name(there), there, true},
		{"one that is gone", pin.Name(gone), gone, false},
		{"a path that was cut short", pin.Name(gone), there, false},
		{"no absolute path", pin.Name("."), ".", false},
		{"one below a file, which can't be looked at", pin.Name("/dev/null/x"), "/dev/null/x", true},
	} {
		if got := pin.Holds(tt.name, tt.holder); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.what, got, tt.want)
		}
	}
}
