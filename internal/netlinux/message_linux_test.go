package netlinux_test

import (
	"strings"
	"testing"

	"github.com/smartvm/smartvm/internal/netlinux"
)

// What the kernel sends has in it what others gave it: comments and names.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff})
	f.Add([]byte{28, 0, 0, 0, 6, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1, 0, 'a', 'b', 'c', 0, 4, 0, 3, 0})
	f.Add([]byte{26, 0, 0, 0, 6, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 10, 0, 7, 0, 0, 200, 'x', 0, 9, 9})
	f.Fuzz(func(t *testing.T, datagram []byte) {
		if n := netlinux.ReadMessages(datagram); n > len(datagram)/16 {
			t.Errorf("%d messages in %d bytes", n, len(datagram))
		}
	})
}

func FuzzComment(f *testing.F) {
	f.Add([]byte{0, 4, 'h', 'e', 'y', 0}, "hey")
	f.Add([]byte{1, 200, 'x'}, strings.Repeat("x", 300))
	f.Add([]byte{1, 0, 0, 3, 'x', 'y'}, "")
	f.Fuzz(func(t *testing.T, stored []byte, text string) {
		_ = netlinux.CommentOf(stored)
		want, _, _ := strings.Cut(text[:min(len(text), 253)], "\x00")
		if got := netlinux.CommentOf(netlinux.Comment(text)); got != want {
			t.Errorf("%q came back as %q", text, got)
		}
	})
}

func TestCommentsAreFoundAmongWhatElseIsStored(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		"\x00\x04hey\x00":          "hey",
		"\x05\x01x\x00\x04hey\x00": "hey",
		"\x00\x03hey":              "hey",
		"\x00\x09hey":              "",
		"\x05\x09hey":              "",
		"\x00":                     "",
		"":                         "",
	} {
		if got := netlinux.CommentOf([]byte(data)); got != want {
			t.Errorf("%q has %q, want %q", data, got, want)
		}
	}
}
