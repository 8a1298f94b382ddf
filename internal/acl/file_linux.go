package acl

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

const (
	attribute = "system.posix_acl_access"
	// maxSize bounds what is read of a list: some thousand entries.
	maxSize = 64 << 10
)

// Get returns the list of a file, or the one that it has by its mode. A symbolic link
// is not followed. The error matches errors.ErrUnsupported if the file system has no
// lists.
func Get(path string) (List, error) {
	data := make([]byte, maxSize)
	n, err := unix.Lgetxattr(path, attribute, data)
	if errors.Is(err, unix.ENODATA) {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		return OfMode(fs.FileMode(st.Mode & 0o777)), nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "get access control list of", Path: path, Err: err}
	}
	list, err := Parse(data[:n])
	if err != nil {
		return nil, &fs.PathError{Op: "get access control list of", Path: path, Err: err}
	}
	return list, nil
}

// Set gives a file a list. The kernel turns one that says no more than a mode into the
// file's mode.
func Set(path string, l List) error {
	if err := unix.Lsetxattr(path, attribute, l.Encode(), 0); err != nil {
		return &fs.PathError{Op: "set access control list of", Path: path, Err: err}
	}
	return nil
}
