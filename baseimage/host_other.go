//go:build !linux

package baseimage

import (
	"context"
	"errors"
	"os"
)

func tryLock(*os.File, int64, bool) error        { return errors.ErrUnsupported }
func unlock(*os.File, int64) error               { return errors.ErrUnsupported }
func isLocked(*os.File, int64) (bool, error)     { return false, errors.ErrUnsupported }
func isUnlinked(*os.File) (bool, error)          { return false, errors.ErrUnsupported }
func attributes(*os.File) (stamp, uint32, error) { return stamp{}, 0, errors.ErrUnsupported }

type stamp struct{ size int64 }

func (stamp) settle(context.Context) bool { return false }
