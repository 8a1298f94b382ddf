package proc

import (
	"strings"
	"testing"
)

func TestStateOfAThreadIsReadWhateverItsName(t *testing.T) {
	t.Parallel()
	rest := strings.Repeat(" 0", 49) + "\n"
	for text, want := range map[string]Thread{
		"12 (fc_vcpu 0) R":  {"fc_vcpu 0", false},
		"12 (main) S":       {"main", true},
		"12 (a) S (b) R) D": {"a) S (b) R", false},
		"12 () S":           {"", true},
	} {
		if got, err := parseThread([]byte(text + rest)); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "12 (main) S", "12 main S" + rest, ")(" + rest} {
		if got, err := parseThread([]byte(text)); err == nil {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}
