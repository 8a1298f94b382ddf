package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smartvm/smartvm/internal/hello"
	"github.com/smartvm/smartvm/internal/privdir"
)

// kernelsName is the directory of kernels below the data directory.
const kernelsName = "kernels"

// placeHello returns the path of the built-in guest below the data directory. A
// file that is not the guest, whatever made it so, is replaced.
func placeHello(dataDir string) (_ string, err error) {
	dir, err := privdir.Ensure(filepath.Join(dataDir, kernelsName))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	name := fmt.Sprintf("hello-%.12s.elf", hello.Digest())
	path := filepath.Join(dir.Path(), name)
	there, err := os.ReadFile(path)
	if err == nil && bytes.Equal(there, hello.Image()) {
		return path, dir.Root().Chmod(name, guestMode)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return path, errors.Join(dir.WriteFile(name, hello.Image(), false), dir.Root().Chmod(name, guestMode))
}

// guestMode lets a Firecracker of another user read the guest in its jail.
const guestMode = 0o644
