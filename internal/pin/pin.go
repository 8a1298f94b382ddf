// Package pin is how a store knows which directories use a thing in it, such as those of
// VMs: by a file for each, with the path of the directory in it and named by its hash.
package pin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Name is the name of the file of a holder.
func Name(holder string) string {
	sum := sha256.Sum256([]byte(holder))
	return hex.EncodeToString(sum[:])
}

// Holds reports whether the file of that name, with that content, is about a directory
// that exists. One that was cut short by a kill is about none; a directory that can't be
// looked at counts.
func Holds(name, holder string) bool {
	if Name(holder) != name || !filepath.IsAbs(holder) {
		return false
	}
	_, err := os.Lstat(holder)
	return !errors.Is(err, fs.ErrNotExist)
}
