package netplan

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Owner says whose a network is.
type Owner struct {
	// ID is 12 hexadecimal digits, made once for each runtime directory.
	ID string `json:"id"`
	// Dir is the runtime directory, for people.
	Dir string `json:"dir"`
}

// maxMark is the longest mark in bytes. The kernel keeps 255 of a link's alias
// (IFALIASZ of linux/if.h) and 253 of a comment in nftables; but nft reads back what
// it lists only up to 127 (NFTNL_UDATA_COMMENT_MAXLEN of libnftnl), and the comments
// of some tables have [ForwardingWasOff] behind the mark.
const maxMark = 127 - len(ForwardingWasOff)

// Mark is the text that every object of a network carries in the kernel: the
// alias of links and the comment of tables and of rules in other people's chains.
// The id and the bridge tell marks apart; of a long directory the middle is left out.
func (o Owner) Mark(bridge string) string {
	head := "smartvm " + o.ID + " " + bridge + " "
	return head + abbreviated(printable(o.Dir), maxMark-len(head))
}

// printable returns the text as nft and ip can show it: on one line, and in quotes.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r == '"' || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// abbreviated keeps both ends of a text that has more bytes than size: of a path the
// ends are what people know it by.
func abbreviated(text string, size int) string {
	const gap = "..."
	if len(text) <= size {
		return text
	}
	keep := max(size-len(gap), 0)
	head, tail := keep/3, len(text)-(keep-keep/3)
	for head > 0 && !utf8.RuneStart(text[head]) {
		head--
	}
	for tail < len(text) && !utf8.RuneStart(text[tail]) {
		tail++
	}
	return text[:head] + gap + text[tail:]
}
