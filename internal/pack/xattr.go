package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// readXattrs reads the extended attributes of what path names, be it a link.
// There are none where the file system has none.
func readXattrs(path string) (map[string]string, error) {
	names, err := grow(func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) })
	if errors.Is(err, unix.EOPNOTSUPP) || err == nil && len(names) == 0 {
		return nil, nil //nolint:nilnil // no attributes, and nothing wrong with that
	}
	if err != nil {
		return nil, os.NewSyscallError("llistxattr", err)
	}
	xattrs := make(map[string]string)
	for name := range bytes.SplitSeq(bytes.TrimSuffix(names, []byte{0}), []byte{0}) {
		value, err := grow(func(buf []byte) (int, error) { return unix.Lgetxattr(path, string(name), buf) })
		if err != nil {
			return nil, fmt.Errorf("extended attribute %q: %w", name, os.NewSyscallError("lgetxattr", err))
		}
		xattrs[string(name)] = string(value)
	}
	return xattrs, nil
}

// grow calls read with a buffer that is large enough, also if somebody changes
// the attribute between its two calls.
func grow(read func([]byte) (int, error)) ([]byte, error) {
	for {
		size, err := read(nil)
		if err != nil || size == 0 {
			return nil, err
		}
		buf := make([]byte, size)
		if size, err = read(buf); !errors.Is(err, unix.ERANGE) {
			return buf[:max(size, 0)], err
		}
	}
}

// The two attributes that hold POSIX access lists.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// Access lists as the kernel shows them (linux/posix_acl_xattr.h) and as ext4
// stores them (fs/ext4/acl.h): there an entry has an id only if its tag needs one.
const (
	aclXattrVersion = 2
	aclExt4Version  = 1
	aclXattrEntry   = 8 // tag and permissions of 2 bytes each, id of 4
	aclUser         = 0x02
	aclGroup        = 0x08
)

// ext4ACL turns the value of an attribute that holds an access list into what
// has to lie on the disk.
func ext4ACL(value string) (string, error) {
	list := []byte(value)
	if len(list) < 4 || len(list)%aclXattrEntry != 4 || binary.LittleEndian.Uint32(list) != aclXattrVersion {
		return "", errors.New("the access list is not in the kernel's format")
	}
	disk := binary.LittleEndian.AppendUint32(nil, aclExt4Version)
	for list = list[4:]; len(list) > 0; list = list[aclXattrEntry:] {
		length := 4
		if tag := binary.LittleEndian.Uint16(list); tag == aclUser || tag == aclGroup {
			length = aclXattrEntry
		}
		disk = append(disk, list[:length]...)
	}
	return string(disk), nil
}
