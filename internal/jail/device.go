package jail

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// device is a character device that Firecracker uses.
type device struct {
	name         string // below /dev
	major, minor uint32
}

// devices are those that the jailer makes in each jail (src/jailer/src/env.rs).
func devices() []device {
	all := []device{{"kvm", 10, 232}, {"net/tun", 10, 200}, {"urandom", 1, 9}}
	// For page servers, since Linux 6.1. The number is the host's.
	var st unix.Stat_t
	if err := unix.Stat("/dev/userfaultfd", &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR {
		all = append(all, device{"userfaultfd", unix.Major(st.Rdev), unix.Minor(st.Rdev)})
	}
	return all
}

// devicesName is their directory, in a jail and where jails begin.
const devicesName = "dev"

// makeDevices makes devices below a root. All users of jails may use them, and change
// nothing of them.
func makeDevices(root *os.File, all []device) error {
	const dirMode, mode = 0o755, 0o666
	for _, dir := range []string{devicesName, filepath.Join(devicesName, "net")} {
		if err := unix.Mkdirat(int(root.Fd()), dir, dirMode); err != nil {
			return &os.PathError{Op: "mkdir", Path: dir, Err: err}
		}
		if err := unix.Fchmodat(int(root.Fd()), dir, dirMode, 0); err != nil { // which no umask takes from
			return &os.PathError{Op: "chmod", Path: dir, Err: err}
		}
	}
	for _, d := range all {
		path := filepath.Join(devicesName, d.name)
		if err := unix.Mknodat(int(root.Fd()), path, unix.S_IFCHR|mode, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return &os.PathError{Op: "mknod", Path: path, Err: err}
		}
		if err := unix.Fchmodat(int(root.Fd()), path, mode, 0); err != nil {
			return &os.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	return nil
}
