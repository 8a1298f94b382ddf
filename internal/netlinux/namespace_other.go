//go:build !linux

package netlinux

import (
	"errors"
	"os"

	"github.com/smartvm/smartvm/internal/ruleset"
)

// Namespace is a network namespace of nobody. There is none but on Linux.
type Namespace struct{}

// NewNamespace fails with [errors.ErrUnsupported].
func NewNamespace() (*Namespace, error) { return nil, errors.ErrUnsupported }

// File returns nil.
func (n *Namespace) File() *os.File { return nil }

// Close does nothing.
func (n *Namespace) Close() error { return nil }

// AddTAP fails with [errors.ErrUnsupported].
func (n *Namespace) AddTAP(string, int) error { return errors.ErrUnsupported }

// OwnTAP fails with [errors.ErrUnsupported].
func (n *Namespace) OwnTAP(string, int) error { return errors.ErrUnsupported }

// Make fails with [errors.ErrUnsupported].
func (n *Namespace) Make(ruleset.Table) error { return errors.ErrUnsupported }

// SwitchOn fails with [errors.ErrUnsupported].
func (n *Namespace) SwitchOn(string) error { return errors.ErrUnsupported }
