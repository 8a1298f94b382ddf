//go:build !linux

package baseimage

import (
	"errors"
	"os"
)

func tryLock(*os.File, int64, bool) error    { return errors.ErrUnsupported }
func unlock(*os.File, int64) error           { return errors.ErrUnsupported }
func isLocked(*os.File, int64) (bool, error) { return false, errors.ErrUnsupported }
func isUnlinked(*os.File) (bool, error)      { return false, errors.ErrUnsupported }
