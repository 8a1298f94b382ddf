package netlinux

import (
	"strings"

	"github.com/google/nftables/userdata"
)

// Comments are data that the kernel keeps for user space, in the layout of
// libnftnl's udata.h: type, length, value. Tables, rules and elements have the type 0
// for it, sets another.

// commentMax is the longest comment: the kernel keeps 256 bytes (NFT_USERDATA_MAXLEN).
const commentMax = 253

// comment appends an attribute with a comment.
func (a *attributes) comment(kind uint16, text string) {
	text = shortened(text)
	start := a.start(kind)
	*a = append(*a, byte(userdata.TypeComment), byte(len(text)+1))
	*a = append(*a, text...)
	*a = append(*a, 0)
	a.end(start)
}

// commentOf returns the comment in what somebody has stored, which may be anything.
func commentOf(data []byte) string {
	for len(data) >= 2 {
		size := 2 + int(data[1])
		if size > len(data) {
			return ""
		}
		if userdata.Type(data[0]) == userdata.TypeComment {
			return textOf(data[2:size])
		}
		data = data[size:]
	}
	return ""
}

// shortened returns as much of a text as fits into a comment.
func shortened(text string) string { return text[:min(len(text), commentMax)] }

// belongs reports whether a comment is a mark, perhaps with words behind it.
func belongs(comment, mark string) bool {
	rest, ours := strings.CutPrefix(comment, shortened(mark))
	return ours && (rest == "" || rest[0] == ' ')
}
