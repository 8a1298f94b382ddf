package hostnet

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/netplan"
)

const (
	// unknownOwner is the id of a runtime directory that has had no network yet.
	unknownOwner = "000000000000"
	ownerBytes   = len(unknownOwner) / 2
)

// owner returns who the networks of this runtime directory belong to; the id is made
// by whoever asks first. The caller holds the lock of the records.
func (p place) owner() (netplan.Owner, error) {
	o, err := p.peekOwner()
	if err != nil || o.ID != unknownOwner {
		return o, err
	}
	var id [ownerBytes]byte
	_, _ = rand.Read(id[:]) // it never fails
	o.ID = hex.EncodeToString(id[:])
	return o, writeFile(p.ownerPath(), []byte(o.ID))
}

func (p place) ownerPath() string { return filepath.Join(p.networks(), ownerName) }

// peekOwner is owner for those who must not make anything.
func (p place) peekOwner() (netplan.Owner, error) {
	o := netplan.Owner{ID: unknownOwner, Dir: p.runtime}
	data, err := readFile(p.ownerPath())
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return o, failed(errcode.LedgerFailed, "read owner id", p.ownerPath(), err)
	}
	if raw, err := hex.DecodeString(string(data)); err != nil || len(raw) != ownerBytes {
		return o, failed(errcode.LedgerFailed, "read owner id", p.ownerPath(), fmt.Errorf("it is not %d hexadecimal digits", len(unknownOwner)))
	}
	o.ID = string(data)
	return o, nil
}
