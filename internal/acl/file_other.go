//go:build !linux

package acl

import "errors"

// Get fails: the lists of other systems are not these.
func Get(string) (List, error) { return nil, errors.ErrUnsupported }

// Set fails, as Get does.
func Set(string, List) error { return errors.ErrUnsupported }
