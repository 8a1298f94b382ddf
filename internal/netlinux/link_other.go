//go:build !linux

package netlinux

import (
	"context"
	"errors"

	"github.com/smartvm/smartvm/internal/netplan"
)

// Link fails with [errors.ErrUnsupported].
func (h *Host) Link(string) (Link, error) { return Link{}, errors.ErrUnsupported }

// Links fails with [errors.ErrUnsupported].
func (h *Host) Links() ([]Link, error) { return nil, errors.ErrUnsupported }

// AddBridge fails with [errors.ErrUnsupported].
func (h *Host) AddBridge(netplan.Bridge, string) (index int, err error) {
	return 0, errors.ErrUnsupported
}

// SetBridge fails with [errors.ErrUnsupported].
func (h *Host) SetBridge(int, netplan.Bridge) error { return errors.ErrUnsupported }

// AddTAP fails with [errors.ErrUnsupported].
func (h *Host) AddTAP(string, int) (index int, err error) { return 0, errors.ErrUnsupported }

// AddWire fails with [errors.ErrUnsupported].
func (h *Host) AddWire(string, string, *Namespace, string) (index int, err error) {
	return 0, errors.ErrUnsupported
}

// OwnTAP fails with [errors.ErrUnsupported].
func (h *Host) OwnTAP(Link, int) error { return errors.ErrUnsupported }

// AttachTAP fails with [errors.ErrUnsupported].
func (h *Host) AttachTAP(Port) error { return errors.ErrUnsupported }

// DeleteLink fails with [errors.ErrUnsupported].
func (h *Host) DeleteLink(context.Context, string, int, string) error { return errors.ErrUnsupported }
