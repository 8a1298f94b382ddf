package fetch

import (
	"strconv"
	"strings"
)

// contentRange is what a 206 has, both ends included.
type contentRange struct {
	first, last int64
	total       int64 // 0 when the server does not know
}

// parseContentRange reads "bytes first-last/total" (RFC 9110, 14.4).
func parseContentRange(text string) (contentRange, bool) {
	text, ok := strings.CutPrefix(text, "bytes ")
	span, total, hasTotal := strings.Cut(text, "/")
	first, last, hasLast := strings.Cut(span, "-")
	if !ok || !hasTotal || !hasLast {
		return contentRange{}, false
	}
	var r contentRange
	for text, into := range map[string]*int64{first: &r.first, last: &r.last, total: &r.total} {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil && (text != "*" || into != &r.total) {
			return contentRange{}, false
		}
		*into = int64(n)
	}
	if r.last < r.first || total != "*" && r.last >= r.total {
		return contentRange{}, false
	}
	return r, true
}
