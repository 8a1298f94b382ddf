package netlinux

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

const (
	sysctlDir = "/proc/sys"
	// sysctlSize is the most that is read of a setting, in bytes.
	sysctlSize = 4 << 10
)

// Sysctl reads a setting of the network namespace, without the blanks around it.
// The path is below /proc/sys and has slashes, since dots can be part of an
// interface's name: net/ipv4/conf/eth0.5/rp_filter. The error matches
// [fs.ErrNotExist] if there is no such setting.
func (h *Host) Sysctl(path string) (string, error) {
	f, err := openSysctl(path, os.O_RDONLY)
	if err != nil {
		return "", failed(errcode.NetworkFailed, "read sysctl", path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, sysctlSize))
	return strings.TrimSpace(string(text)), failed(errcode.NetworkFailed, "read sysctl", path, err)
}

// SetSysctl changes a setting of the network namespace; see [Host.Sysctl] for the path.
func (h *Host) SetSysctl(path, value string) error {
	const op = "set sysctl"
	f, err := openSysctl(path, os.O_WRONLY)
	if err == nil {
		_, err = f.WriteString(value + "\n") // in one call, as the kernel wants it
		err = errors.Join(err, f.Close())
	}
	err = failed(errcode.NetworkFailed, op, path, err)
	if errors.Is(err, unix.EROFS) {
		hint(err, "/proc/sys is mounted read-only, as in a container: set it to "+value+" on the host")
	}
	return err
}

func openSysctl(path string, flag int) (*os.File, error) {
	if !fs.ValidPath(path) || !strings.HasPrefix(path, "net/") {
		return nil, fmt.Errorf("no path of a network setting below %s: %w", sysctlDir, fs.ErrInvalid)
	}
	root, err := os.OpenRoot(sysctlDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenFile(path, flag, 0)
}
