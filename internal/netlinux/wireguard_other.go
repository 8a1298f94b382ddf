//go:build !linux

package netlinux

import (
	"context"
	"errors"

	"github.com/smartvm/smartvm/internal/netplan"
)

// AddWireGuard fails with [errors.ErrUnsupported].
func (h *Host) AddWireGuard(context.Context, netplan.WireGuard, string) (index int, err error) {
	return 0, errors.ErrUnsupported
}

// Tunnel fails with [errors.ErrUnsupported].
func (h *Host) Tunnel(context.Context, string) (Status, error) {
	return Status{}, errors.ErrUnsupported
}
