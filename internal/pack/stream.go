package pack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stream writes entries in the one dialect of tar that sqfstar 4.5.1 and tar2ext4
// both read without a loss: headers of GNU tar, and before them a PAX header that
// has nothing but extended attributes, which GNU's has no place for. With a PAX
// record for the link, sqfstar takes leading "/", "./" and "../" off a long
// target. User and group names are left out: it would look them up on the host.
type stream struct {
	raw      io.Writer
	tar      *tar.Writer
	written  int64 // content so far, in bytes
	progress func(bytes int64)
}

func newStream(w io.Writer, progress func(int64)) *stream {
	if progress == nil {
		progress = func(int64) {}
	}
	return &stream{raw: w, tar: tar.NewWriter(w), progress: progress}
}

// errChanged is returned for a file that has not the size that it had when it was opened.
var errChanged = errors.New("the file changed while it was packed")

func (s *stream) write(e *entry, content io.Reader) error {
	if len(e.xattrs) > 0 {
		if err := s.writeXattrs(e.xattrs); err != nil {
			return err
		}
	}
	h := &tar.Header{
		Format: tar.FormatGNU, Typeflag: e.kind, Name: e.name, Linkname: e.link, Size: e.size, Mode: int64(e.mode),
		Uid: int(e.uid), Gid: int(e.gid), ModTime: time.Unix(e.mtime, 0), Devmajor: int64(e.major), Devminor: int64(e.minor),
	}
	if e.kind == tar.TypeDir {
		h.Name += "/" // the root's name must not be empty
	}
	if err := s.tar.WriteHeader(h); err != nil {
		return err
	}
	if e.kind != tar.TypeReg {
		return nil
	}
	return s.copy(content, e.size)
}

// copy moves exactly size bytes.
func (s *stream) copy(content io.Reader, size int64) error {
	const chunk = 1 << 20 // so much between two calls of progress
	for left := size; left > 0; {
		n, err := io.CopyN(s.tar, content, min(left, chunk))
		left -= n
		s.written += n
		s.progress(s.written)
		if errors.Is(err, io.EOF) {
			return errChanged
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) close() error { return s.tar.Close() }

// writeXattrs writes a PAX header for the entry that comes next.
func (s *stream) writeXattrs(xattrs map[string]string) error {
	var records bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(xattrs)) {
		records.WriteString(record(xattrPrefix+name, xattrs[name]))
	}
	header, err := paxHeader(int64(records.Len()))
	if err != nil {
		return err
	}
	records.Write(make([]byte, -records.Len()&(blockSize-1)))
	return errors.Join(s.tar.Flush(), writeAll(s.raw, header), writeAll(s.raw, records.Bytes()))
}

func writeAll(w io.Writer, data []byte) error {
	_, err := w.Write(data)
	return err
}

const (
	blockSize   = 512
	xattrPrefix = "SCHILY.xattr."
)

// record writes "LENGTH key=value\n", where LENGTH counts itself too (pax(1)).
func record(key, value string) string {
	rest := len(key) + len(value) + len(" =\n")
	length := rest
	for length != rest+len(strconv.Itoa(length)) {
		length = rest + len(strconv.Itoa(length))
	}
	return strconv.Itoa(length) + " " + key + "=" + value + "\n"
}

// paxHeader makes the block before size bytes of records. archive/tar writes it
// only together with the entry itself, and then in PAX throughout; so this is the
// block of a file, with another type.
func paxHeader(size int64) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Name: "xattrs", Size: size, Mode: 0o600})
	if err != nil {
		return nil, err
	}
	block := b.Bytes()
	const typeflag, checksum = 156, 148 // offsets (pax(1), ustar header block)
	block[typeflag] = tar.TypeXHeader
	copy(block[checksum:], strings.Repeat(" ", 8))
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	copy(block[checksum:], fmt.Sprintf("%06o\x00 ", sum))
	return block, nil
}
