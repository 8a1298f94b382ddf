//go:build !amd64

package hello

import (
	"errors"
	"time"
)

// SpinHost returns errors.ErrUnsupported: the guest is x86_64 only, so there is nothing to compare with.
func SpinHost(uint64) (time.Duration, error) { return 0, errors.ErrUnsupported }
