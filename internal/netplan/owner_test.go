package netplan_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/smartvm/smartvm/internal/netplan"
)

func TestMarkNamesOwnerBridgeAndDirectory(t *testing.T) {
	t.Parallel()
	if got, want := owner.Mark("svbr0"), "smartvm 0123456789ab svbr0 /run/smartvm"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMarkOfAnyDirectoryIsShortAndOnOneLine(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{
		"", "/", "/run/with a blank", "/run/\"quoted\"", "/run/two\nlines", "/run/\xff\xfe",
		"/" + strings.Repeat("x", 4000), "/" + strings.Repeat("ä", 300), "/x" + strings.Repeat("ä", 300), "/" + strings.Repeat("\U0001f40b", 200),
	} {
		for _, bridge := range []string{"b", "a-bridge-of-15-"} {
			o := netplan.Owner{ID: "0123456789ab", Dir: dir}
			mark := o.Mark(bridge)
			if len(mark)+len(netplan.ForwardingWasOff) > 127 || !utf8.ValidString(mark) || strings.ContainsAny(mark, "\n\"") {
				t.Errorf("directory %.40q: mark %q of %d bytes", dir, mark, len(mark))
			}
			if !strings.HasPrefix(mark, "smartvm 0123456789ab "+bridge+" ") || mark != o.Mark(bridge) {
				t.Errorf("directory %.40q: mark %q", dir, mark)
			}
		}
	}
}

func TestMarkOfLongDirectoryKeepsItsEnds(t *testing.T) {
	t.Parallel()
	o := netplan.Owner{ID: "0123456789ab", Dir: "/home/somebody/" + strings.Repeat("deep/", 50) + "smartvm"}
	if mark := o.Mark("svbr0"); !strings.Contains(mark, " /home/somebody/") || !strings.HasSuffix(mark, "/smartvm") || !strings.Contains(mark, "...") {
		t.Errorf("mark %q", mark)
	}
}
