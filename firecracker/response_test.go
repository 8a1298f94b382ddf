package firecracker_test

import (
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/smartvm/smartvm/firecracker"
)

// stream is a connection from which text is read.
type stream struct {
	net.Conn
	io.Reader
}

func (s stream) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s stream) SetDeadline(time.Time) error { return nil }
func read(text string) (*firecracker.Response, bool, error) {
	return firecracker.ReadAnswer(stream{Reader: strings.NewReader(text)}, "PUT")
}

func TestEachErrorShapeIsUnderstood(t *testing.T) {
	tests := []struct {
		name, text string
		fault      string
		usable     bool
	}{
		{"fault", "HTTP/1.1 400 \r\nContent-Length: 22\r\n\r\n{\"fault_message\":\"no\"}", "no", true},
		{"line feed in a string", "HTTP/1.1 400 \r\nContent-Length: 26\r\n\r\n{ \"error\": \"bad\nAll lost\"}", "bad\nAll lost", false},
		{"no reason, no space", "HTTP/1.1 503\r\nConnection: close\r\nContent-Length: 18\r\n\r\n{ \"error\": \"many\"}", "many", false},
		{"no JSON", "HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\noops", "oops", false},
		{"no body", "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, usable, err := read(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got.OK || got.Fault != tt.fault || usable != tt.usable || (len(got.Body) > 0 && !json.Valid(got.Body)) {
				t.Errorf("got %+v, usable %t", got, usable)
			}
		})
	}
}

func TestEndlessAnswersEnd(t *testing.T) {
	tests := map[string]string{
		"header":           "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 5<<20),
		"claimed body":     "HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n",
		"body without end": "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 5<<20),
		"error body":       "HTTP/1.1 400 Bad\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000),
		"chunks":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("10000\r\n"+strings.Repeat("x", 0x10000)+"\r\n", 80),
	}
	for name, text := range tests {
		if got, _, err := read(text); err == nil {
			t.Errorf("%s: got %d bytes", name, len(got.Body))
		}
	}
}

func TestUnaskedBytesMakeAConnectionUnusable(t *testing.T) {
	if _, usable, err := read("HTTP/1.1 204 \r\n\r\nHTTP/1.1 400 \r\n"); err != nil || usable {
		t.Errorf("usable %t, %v", usable, err)
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add("HTTP/1.1 204 No Content\r\nDeprecation: true\r\n\r\n")
	f.Add("HTTP/1.1 503\r\nContent-Length: 18\r\n\r\n{ \"error\": \"many\"}")
	f.Add("HTTP/1.1 400 \r\nContent-Length: 26\r\n\r\n{ \"error\": \"bad\nAll lost\"}")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, usable, err := read(text)
		if err != nil {
			if usable {
				t.Error("usable after an error")
			}
			return
		}
		if got.OK != (got.StatusCode/100 == 2) || (got.OK && got.Fault != "") {
			t.Errorf("got %+v", got)
		}
		if len(got.Body) > 0 && !json.Valid(got.Body) {
			t.Errorf("body %q is not JSON", got.Body)
		}
	})
}
