package pack

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/smartvm/smartvm/errcode"
)

var (
	errCut    = errors.New("the archive is cut short: its end marker is missing")
	errNoTar  = errors.New("it is no tar, or a damaged one")
	errEscape = errors.New("the name leads out of the tree")
)

// unpack adds the entries of a tar.
func unpack(ctx context.Context, r io.Reader, t *tree, n *notes) error {
	plain, err := decompress(r)
	if err != nil {
		return err
	}
	in := &counter{r: plain}
	archive := tar.NewReader(in)
	for ctx.Err() == nil {
		before := in.count
		h, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF) && in.count-before < blockSize:
			return errCut // archive/tar takes the end of the input for the end of the archive
		case errors.Is(err, io.EOF):
			return drain(plain)
		case errors.Is(err, io.ErrUnexpectedEOF):
			return errCut
		case errors.Is(err, tar.ErrHeader):
			return errNoTar
		case err != nil:
			return err
		}
		if err := addMember(h, archive, t, n); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func addMember(h *tar.Header, content io.Reader, t *tree, n *notes) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return checkGlobal(h)
	}
	e, err := member(h, n)
	if err != nil {
		return &entryError{name: h.Name, err: err}
	}
	err = t.add(e, content)
	if errors.Is(err, errChanged) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut // the content of a member ended early
	}
	return err
}

// counter counts what has been read.
type counter struct {
	r     io.Reader
	count int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.count += int64(n)
	return n, err
}

// maxTrailer is how much padding may follow the end of an archive: tar fills its
// last record, of 10 KiB by default and of any size by its option -b.
const maxTrailer = 64 << 20

// drain reads the rest, at whose end gzip has its checksum.
func drain(r io.Reader) error {
	n, err := io.CopyN(io.Discard, r, maxTrailer)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("more than %d bytes follow the end of the archive", n)
	}
	return err
}

// Compressions that are told apart by how they begin, and the command that undoes
// those that the standard library can't.
var compressions = []struct{ magic, name, tool string }{
	{"\x1f\x8b", "gzip", ""},
	{"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"},
	{"\xfd7zXZ\x00", "xz", "xz -dc"},
	{"BZh", "bzip2", "bzip2 -dc"},
	{"\x04\x22\x4d\x18", "lz4", "lz4 -dc"},
}

func decompress(r io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	head, err := in.Peek(blockSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, c := range compressions {
		if !bytes.HasPrefix(head, []byte(c.magic)) {
			continue
		}
		if c.tool == "" {
			return gzip.NewReader(in)
		}
		return nil, &errcode.Error{
			Code: errcode.RootfsCreateFailed, Op: opPack,
			Err:  errors.New("the tar is compressed with " + c.name + "; plain and gzipped ones can be read"),
			Hint: "decompress it first: " + c.tool + " FILE >rootfs.tar",
		}
	}
	return in, nil
}

// Keys of a global header that would change the entries after it, which
// archive/tar does not do.
func checkGlobal(h *tar.Header) error {
	for key := range h.PAXRecords {
		if key != "comment" { // git archive writes the commit
			return fmt.Errorf("a global header sets %q for all entries, which is not supported", key)
		}
	}
	return nil
}

// member makes an entry of a header.
func member(h *tar.Header, n *notes) (entry, error) {
	e := entry{
		kind: h.Typeflag, mode: uint16(h.Mode & 0o7777), mtime: h.ModTime.Unix(),
		link: h.Linkname, major: uint32(h.Devmajor), minor: uint32(h.Devminor),
	}
	var err error
	if e.name, err = clean(h.Name); err != nil {
		return e, err
	}
	if h.Uid < 0 || h.Uid >= noID || h.Gid < 0 || h.Gid >= noID {
		return e, fmt.Errorf("there is no owner %d:%d", h.Uid, h.Gid)
	}
	e.uid, e.gid = uint32(h.Uid), uint32(h.Gid)
	if h.Devmajor < 0 || h.Devmajor > math.MaxUint32 || h.Devminor < 0 || h.Devminor > math.MaxUint32 {
		return e, fmt.Errorf("there is no device %d:%d", h.Devmajor, h.Devminor)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		e.kind, e.size, e.link = tar.TypeReg, h.Size, ""
	case tar.TypeLink:
		if e.link, err = clean(h.Linkname); err != nil {
			return e, err
		}
		return e, nil // all but the name is that of the target
	}
	e.xattrs = xattrsOf(h, e.name, n)
	return e, nil
}

// clean takes off what leads to the root, as tar does, and refuses what would
// lead out of the tree.
func clean(name string) (string, error) {
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", errEscape
		default:
			parts = append(parts, part)
		}
	}
	if strings.Contains(name, "\x00") {
		return "", errors.New("the name has a NUL byte")
	}
	return strings.Join(parts, "/"), nil
}

// xattrsOf takes the extended attributes out of a header. Other ways to write
// them down, and the access lists of GNU tar, which are text with the names of
// users, are left out.
func xattrsOf(h *tar.Header, name string, n *notes) map[string]string {
	xattrs := make(map[string]string)
	for key, value := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(key, xattrPrefix); ok {
			xattrs[attr] = value
		}
	}
	for key := range h.PAXRecords {
		attr, encoded := strings.CutPrefix(key, "LIBARCHIVE.xattr.")
		_, known := xattrs[attr]
		if encoded && !known || strings.HasPrefix(key, "SCHILY.acl.") || strings.HasPrefix(key, "RHT.security.") {
			n.leftOutOnce(name, "PAX record "+key)
		}
	}
	return xattrs
}
