//go:build !linux

package netlinux

import (
	"context"
	"errors"

	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/internal/ruleset"
)

// Replace fails with [errors.ErrUnsupported].
func (h *Host) Replace([]ruleset.Table) error { return errors.ErrUnsupported }

// Make fails with [errors.ErrUnsupported].
func (h *Host) Make(ruleset.Table) error { return errors.ErrUnsupported }

// Add fails with [errors.ErrUnsupported].
func (h *Host) Add(netplan.Change) error { return errors.ErrUnsupported }

// Remove fails with [errors.ErrUnsupported].
func (h *Host) Remove(netplan.Change) error { return errors.ErrUnsupported }

// RemoveTables fails with [errors.ErrUnsupported].
func (h *Host) RemoveTables(string, string) error { return errors.ErrUnsupported }

// Tables fails with [errors.ErrUnsupported].
func (h *Host) Tables() ([]TableInfo, error) { return nil, errors.ErrUnsupported }

// SetCounts fails with [errors.ErrUnsupported].
func (h *Host) SetCounts(ruleset.Family, string, string) (map[string]Count, error) {
	return nil, errors.ErrUnsupported
}

// Missing fails with [errors.ErrUnsupported].
func (h *Host) Missing([]ruleset.Table) ([]string, error) { return nil, errors.ErrUnsupported }

// Barriers fails with [errors.ErrUnsupported].
func (h *Host) Barriers(context.Context) ([]netplan.Barrier, error) {
	return nil, errors.ErrUnsupported
}

// AddAccept fails with [errors.ErrUnsupported].
func (h *Host) AddAccept(netplan.Accept, string) error { return errors.ErrUnsupported }

// RemoveAccept fails with [errors.ErrUnsupported].
func (h *Host) RemoveAccept(netplan.Barrier, string) error { return errors.ErrUnsupported }

// HasAccept fails with [errors.ErrUnsupported].
func (h *Host) HasAccept(netplan.Accept, string) (bool, error) { return false, errors.ErrUnsupported }
