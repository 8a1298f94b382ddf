//go:build !linux

package privdir

import (
	"errors"
	"os"
)

func walk(string, bool, int) (*os.File, string, error) { return nil, "", errors.ErrUnsupported }

// IsTmpfs is false: there is no tmpfs here.
func IsTmpfs(string) bool { return false }
