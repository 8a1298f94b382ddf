package proc

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
)

// Find returns the absolute path of a program that is part of the system. It
// looks in the absolute entries of PATH and then where administrators' programs
// are, which the PATH of a user may lack. The error is HOST_UNSUPPORTED and names
// the Debian package to install.
func Find(name, debian string) (string, error) {
	dirs := append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/sbin", "/usr/sbin", "/sbin")
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if !filepath.IsAbs(dir) { // another file in each working directory
			continue
		}
		info, err := os.Stat(path) //nolint:gosec // whoever sets PATH chooses the programs
		if err == nil && info.Mode().IsRegular() && unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", &errcode.Error{
		Code: errcode.HostUnsupported, Op: "find program", Subject: name,
		Err: errors.New("it is not in PATH"), Hint: "apt install " + debian + ", or what the package is called on this system",
	}
}
