package privdir

import (
	"golang.org/x/sys/unix"
)

// IsTmpfs reports whether private directories can be made in path, say
// /dev/shm, and would lie in memory: it is a writable tmpfs of root or the
// effective user, and sticky if others may write to it as well. [Ensure] makes
// its own, stricter checks all the same.
func IsTmpfs(path string) bool {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	var fsys unix.Statfs_t
	if err := unix.Fstatfs(fd, &fsys); err != nil || fsys.Type != unix.TMPFS_MAGIC {
		return false
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false
	}
	if st.Uid != 0 && int64(st.Uid) != int64(unix.Geteuid()) {
		return false
	}
	if st.Mode&writableByOthers != 0 && st.Mode&unix.S_ISVTX == 0 {
		return false
	}
	// It also says no for a read-only file system.
	return unix.Faccessat(fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
}
