package fetch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/internal/proc"
)

// maxRecord bounds what is read of a record: a few validators and a URL.
const maxRecord = 64 << 10

// record says what a part file is a part of. It is written before the first byte
// of content, so a part without one holds nothing that can be used.
type record struct {
	Source string `json:"source"` // id of the source
	Inode  uint64 `json:"inode"`  // of the part file: the record of another one says nothing about it
	Boot   string `json:"boot"`   // boot id of the kernel whose page cache the content went through

	Total        int64  `json:"total,omitempty"` // bytes, 0 when unknown
	Validator    string `json:"validator,omitempty"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`
	URL          string `json:"url"` // the last one, as shown
}

// newRecord describes the content that an answer begins.
func newRecord(answer *http.Response, from *url.URL) record {
	return record{
		Total: max(0, answer.ContentLength), Validator: validator(answer.Header), URL: shown(from),
		ETag: answer.Header.Get("ETag"), LastModified: answer.Header.Get("Last-Modified"),
	}
}

// validator returns what If-Range may be sent with, "" when there is nothing: a
// strong ETag, else a Last-Modified that is older than the answer, so that no
// second change can hide in the same second (RFC 9110, 13.1.5 and 8.8.2.2).
func validator(header http.Header) string {
	if etag := header.Get("ETag"); strongETag(etag) {
		return etag
	}
	text := header.Get("Last-Modified")
	modified, err := http.ParseTime(text)
	if err != nil {
		return ""
	}
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil || date.Sub(modified) < time.Second {
		return ""
	}
	return text
}

// strongETag follows the grammar of RFC 9110, 8.8.3, but takes ASCII only: it
// goes into a header again.
func strongETag(etag string) bool {
	inner, ok := strings.CutPrefix(etag, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	return ok && closed && len(etag) <= 1024 &&
		!strings.ContainsFunc(inner, func(r rune) bool { return r <= ' ' || r == '"' || r >= 0x7f })
}

// continuedBy reports whether an answer to a range goes on with the same content.
// If-Range has asked for that; there are servers that don't know it.
func (r record) continuedBy(header http.Header) bool {
	name := "Last-Modified"
	if strongETag(r.Validator) {
		name = "ETag"
	}
	now := header.Get(name)
	return now == "" || now == r.Validator
}

// trusted reports whether the content that goes with the record may be used. What
// the kernel had not written before a crash of the host can read as zeros; where
// a hash will tell, that only costs another try.
func (r record) trusted(src *source) bool {
	return r.Validator != "" && (src.sha256 != "" || r.Boot != "" && r.Boot == proc.BootID())
}

// parseRecord returns the zero record for whatever is none: its part starts afresh.
func parseRecord(data []byte) record {
	var r record
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&r); err != nil || decoder.More() {
		return record{}
	}
	if _, err := http.ParseTime(r.Validator); r.Validator != "" && err != nil && !strongETag(r.Validator) {
		return record{}
	}
	if r.Total < 0 {
		return record{}
	}
	return r
}

// readRecord follows a link inside the directory: what it finds there is not about
// this part. It waits for no FIFO.
func readRecord(dir *os.Root, name string) record {
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return record{}
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return record{}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return record{}
	}
	return parseRecord(data)
}

// write replaces the record. One that is torn by a kill can't be parsed.
func (r record) write(dir *os.Root, name string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := remove(dir, name); err != nil {
		return err
	}
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// remove removes a name that may be gone already.
func remove(dir *os.Root, name string) error {
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
