package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
)

// ErrRefused is matched by the error about an archive that breaks the rules.
var ErrRefused = errors.New("archive refused")

// Limits bound what an archive may make us do. A zero field is its default.
type Limits struct {
	Members    int   // in the archive, wanted or not; default 10,000
	MemberSize int64 // bytes of one member, holes included; default 1 GiB
	Size       int64 // bytes of the whole archive once it is decompressed; default 4 GiB
}

func (l Limits) withDefaults() Limits {
	if l.Members == 0 {
		l.Members = 10_000
	}
	if l.MemberSize == 0 {
		l.MemberSize = 1 << 30
	}
	if l.Size == 0 {
		l.Size = 4 << 30
	}
	return l
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// quote makes a name of the archive fit for a message.
func quote(name string) string {
	const most = 100
	if len(name) > most {
		return fmt.Sprintf("%q...", name[:most])
	}
	return fmt.Sprintf("%q", name)
}

// check refuses a member that an honest archive does not have.
func check(h *tar.Header, limits Limits) error {
	if !inside(h.Name) {
		return refused("the name %s leads out of it", quote(h.Name))
	}
	if h.Size > limits.MemberSize {
		return refused("%s has %d bytes, more than %d", quote(h.Name), h.Size, limits.MemberSize)
	}
	target := h.Linkname
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeSymlink: // relative to where it is; a hard link names a member
		if target != "" && !path.IsAbs(target) {
			target = path.Join(path.Dir(h.Name), target) //nolint:gosec // it is looked at, and never used
		}
	case tar.TypeLink:
	default:
		return refused("%s is a device, a pipe or something unknown (type %q)", quote(h.Name), h.Typeflag)
	}
	if !inside(target) {
		return refused("the link %s leads out of it, to %s", quote(h.Name), quote(h.Linkname))
	}
	return nil
}

// inside reports whether a name stays below the directory that it starts in, on
// every step of its way.
func inside(name string) bool {
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return false
		}
	}
	return name != "" && !strings.Contains(name, "\x00") && !path.IsAbs(name) && filepath.IsLocal(name)
}

// bounded is a reader that refuses to go on after so many bytes.
type bounded struct {
	from io.Reader
	left int64
}

func (r *bounded) Read(p []byte) (int, error) {
	if r.left <= 0 {
		// The end is allowed here, one more byte is not.
		var one [1]byte
		n, err := r.from.Read(one[:])
		if n > 0 {
			return 0, refused("it is larger than its limit once it is decompressed")
		}
		return 0, err
	}
	n, err := r.from.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}
