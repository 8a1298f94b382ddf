package pack

import (
	"archive/tar"
	"errors"
	"fmt"
	"math"
	"strings"
)

// entry is one member of the tree, whatever it comes from.
type entry struct {
	name   string // clean and relative; "" is the root directory
	kind   byte   // a type flag of archive/tar: TypeReg, TypeDir, TypeSymlink, TypeLink, TypeChar, TypeBlock or TypeFifo
	mode   uint16 // permissions, setuid, setgid and sticky bit
	uid    uint32
	gid    uint32
	mtime  int64  // seconds since 1970
	link   string // target of a symbolic link, or the name that a hard link is another one for
	size   int64  // of a regular file, in bytes
	major  uint32 // of a device
	minor  uint32
	xattrs map[string]string // by full name, such as "user.comment"
}

// Limits that the kernel or both formats have; see also limits.
const (
	maxName   = 255  // one component (NAME_MAX)
	maxPath   = 4095 // a whole name (PATH_MAX without the NUL): also bounds the recursion of whoever reads the stream
	maxTarget = 4095 // of a symbolic link, likewise
	maxMajor  = 1<<12 - 1
	maxMinor  = 1<<20 - 1
	noID      = math.MaxUint32 // (uid_t)-1 is nobody's
)

// check looks at what can be seen by the entry alone.
func (e *entry) check() error {
	switch {
	case e.name == "" && e.kind != tar.TypeDir:
		return errors.New("the root is not a directory")
	case len(e.name) > maxPath:
		return fmt.Errorf("the name is longer than %d bytes", maxPath)
	case e.uid == noID || e.gid == noID:
		return errors.New("the owner is no valid user or group id")
	case e.size < 0:
		return errors.New("the size is negative")
	}
	for part := range strings.SplitSeq(e.name, "/") {
		if len(part) > maxName {
			return fmt.Errorf("a part of the name is longer than %d bytes", maxName)
		}
	}
	switch e.kind {
	case tar.TypeReg, tar.TypeDir, tar.TypeFifo, tar.TypeLink:
	case tar.TypeSymlink:
		if e.link == "" || len(e.link) > maxTarget || strings.Contains(e.link, "\x00") {
			return errors.New("the target of the link is empty, too long or has a NUL byte")
		}
	case tar.TypeChar, tar.TypeBlock:
		if e.major > maxMajor || e.minor > maxMinor {
			return fmt.Errorf("there is no device %d:%d", e.major, e.minor)
		}
	default:
		return fmt.Errorf("type %q is not supported", e.kind)
	}
	return e.checkXattrs()
}

func (e *entry) checkXattrs() error {
	for name := range e.xattrs {
		// A PAX record ends its key with the first "=".
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return fmt.Errorf("the name of the extended attribute %q can't be packed", name)
		}
	}
	return nil
}
