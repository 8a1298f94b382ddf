//go:build !linux

package netlinux

import (
	"context"
	"errors"

	"github.com/smartvm/smartvm/internal/netplan"
)

// Host is the network namespace of this process. There is none but on Linux, so
// that there is no Host either.
type Host struct{}

// Open fails with [errors.ErrUnsupported]: the host network needs Linux.
func Open() (*Host, error) { return nil, errors.ErrUnsupported }

// Permitted is false: there is nothing to administer.
func Permitted() (bool, error) { return false, nil }

// Close does nothing.
func (h *Host) Close() error { return nil }

// Lock fails with [errors.ErrUnsupported].
func (h *Host) Lock(context.Context) (unlock func(), err error) { return nil, errors.ErrUnsupported }

// Facts fails with [errors.ErrUnsupported].
func (h *Host) Facts(context.Context, string, string) (netplan.Facts, error) {
	return netplan.Facts{}, errors.ErrUnsupported
}

// Sysctl fails with [errors.ErrUnsupported].
func (h *Host) Sysctl(string) (string, error) { return "", errors.ErrUnsupported }

// SetSysctl fails with [errors.ErrUnsupported].
func (h *Host) SetSysctl(string, string) error { return errors.ErrUnsupported }
