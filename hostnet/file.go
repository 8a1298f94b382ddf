package hostnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/plainfile"
)

// maxFile bounds what is read of a file here, in bytes; a policy with all the rules
// that it can have fits.
const maxFile = 8 << 20

// readFile reads a file, and no link to one.
func readFile(path string) ([]byte, error) {
	f, err := plainfile.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it has more than %d bytes", maxFile)}
	}
	return data, errors.Join(err, f.Close())
}

// readJSON reads a value. The error matches fs.ErrNotExist when there is no file, and
// LEDGER_FAILED when it has something else.
func readJSON(path string, value any) error {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, value); err != nil {
		return damaged(path, err)
	}
	return nil
}

// writeJSON makes path appear with all of value in it, or not at all. The caller
// holds the lock, so that nobody else writes the same.
func writeJSON(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return failed(errcode.LedgerFailed, "write", path, err)
	}
	return writeFile(path, data)
}

func writeFile(path string, data []byte) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	err := plainfile.Write(tmp, data)
	if err == nil {
		err = unix.Rename(tmp, path)
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		e := failed(errcode.NoSpace, "write", path, err)
		e.Hint = "free some room there, or choose another runtime directory (SMARTVM_RUNTIME_DIR)"
		return errors.Join(e, remove(tmp))
	}
	if err != nil {
		return failed(errcode.DirectoryFailed, "write", path, err)
	}
	return nil
}

// remove removes a file that may be gone already.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(errcode.DirectoryFailed, "remove", path, err)
	}
	return nil
}

// namesIn returns the names in a directory but for those that begin with a dot: files
// that somebody who was killed has half written. A missing directory has none.
func namesIn(dir string) ([]string, error) {
	names, err := plainfile.Names(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(errcode.DirectoryFailed, "list", dir, err)
	}
	return slices.DeleteFunc(names, hidden), nil
}

func hidden(name string) bool { return name[0] == '.' }

// isEmpty reports whether namesIn would return nothing, and does not read on then.
func isEmpty(dir string) (bool, error) {
	f, err := plainfile.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, failed(errcode.DirectoryFailed, "list", dir, err)
	}
	defer f.Close()
	const some = 8
	for {
		names, err := f.Readdirnames(some)
		if len(slices.DeleteFunc(names, hidden)) > 0 {
			return false, nil
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, failed(errcode.DirectoryFailed, "list", dir, err)
		}
	}
}
