package firecracker

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/smartvm/smartvm/errcode"
)

// maxRequestLine is what Firecracker's HTTP parser accepts, in bytes.
const maxRequestLine = 1024

// appendTo appends the request as HTTP/1.1. Firecracker knows no chunked
// bodies, so there is always a Content-Length. INVALID_CONFIG is what
// Firecracker could only answer by losing its place in the connection.
func (r Request) appendTo(b []byte, bodyLimit int) ([]byte, error) {
	if !strings.HasPrefix(r.Path, "/") || strings.ContainsFunc(r.Path, unsafeInPath) {
		return nil, invalidRequest(r, fmt.Errorf("the path %q is not one of Firecracker's", r.Path))
	}
	if n := len(r.Method) + len(r.Path) + len("  HTTP/1.1\r\n"); n > maxRequestLine {
		return nil, invalidRequest(r, fmt.Errorf("the path makes a request line of %d bytes, %d are allowed", n, maxRequestLine))
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Path...)
	b = append(b, " HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"...)
	if r.Body == nil {
		return append(b, "\r\n"...), nil
	}
	body, err := json.Marshal(r.Body)
	if err != nil {
		return nil, invalidRequest(r, err)
	}
	if len(body) > bodyLimit {
		e := invalidRequest(r, fmt.Errorf("a body of %d bytes is over Firecracker's limit of %d", len(body), bodyLimit))
		e.Hint = "start Firecracker with a larger --http-api-max-payload-size"
		return nil, e
	}
	b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...), nil
}

// unsafeInPath finds what would end the path, or the line.
func unsafeInPath(r rune) bool { return r <= ' ' || r == 0x7f || r == '?' || r == '#' }

func invalidRequest(r Request, err error) *errcode.Error {
	return &errcode.Error{Code: errcode.InvalidConfig, Op: opCall, Subject: r.String(), Err: err}
}
