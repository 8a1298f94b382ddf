//go:build !linux

package netlinux

import (
	"errors"

	"github.com/smartvm/smartvm/internal/netplan"
)

// AddRule fails with [errors.ErrUnsupported].
func (h *Host) AddRule(netplan.RoutingRule) error { return errors.ErrUnsupported }

// DeleteRule fails with [errors.ErrUnsupported].
func (h *Host) DeleteRule(netplan.RoutingRule) error { return errors.ErrUnsupported }

// HasRule fails with [errors.ErrUnsupported].
func (h *Host) HasRule(netplan.RoutingRule) (bool, error) { return false, errors.ErrUnsupported }

// AddRoute fails with [errors.ErrUnsupported].
func (h *Host) AddRoute(netplan.Route) error { return errors.ErrUnsupported }

// DeleteRoute fails with [errors.ErrUnsupported].
func (h *Host) DeleteRoute(netplan.Route) error { return errors.ErrUnsupported }

// HasRoute fails with [errors.ErrUnsupported].
func (h *Host) HasRoute(netplan.Route) (bool, error) { return false, errors.ErrUnsupported }

// Routes fails with [errors.ErrUnsupported].
func (h *Host) Routes(int) ([]netplan.Route, error) { return nil, errors.ErrUnsupported }
