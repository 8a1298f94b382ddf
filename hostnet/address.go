package hostnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/netconfig"
)

// chooseAddress finds the next address. They are given out in order, and start again
// from the first when the last was reached; what this value has given before is left
// out unless it may reuse addresses (S9.1). The caller holds the lock of the records.
func (n *Network) chooseAddress(c *netconfig.Config) (cursor, error) {
	first, last := c.FirstGuest(), c.LastGuest()
	at, err := n.place.readCursor()
	if err != nil {
		return at, err
	}
	for range c.Capacity() {
		addr := at.Addr.Next()
		if !at.Addr.IsValid() || addr.Compare(first) < 0 || addr.Compare(last) > 0 {
			at.Again = at.Again || at.Addr.IsValid()
			addr = first
		}
		at.Addr = addr
		if n.gave(addr) && !n.reuse {
			continue
		}
		_, err := os.Lstat(n.place.lease(addr))
		if errors.Is(err, fs.ErrNotExist) {
			return at, nil
		}
		if err != nil {
			return at, failed(errcode.LedgerFailed, "look up", n.place.lease(addr), err)
		}
	}
	return at, n.exhausted(c)
}

func (n *Network) gave(addr netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.given[addr]
}

func (n *Network) give(at cursor) error {
	n.mu.Lock()
	n.given[at.Addr] = true
	n.mu.Unlock()
	return writeJSON(n.place.cursor(), at)
}

func (n *Network) exhausted(c *netconfig.Config) error {
	names, err := namesIn(n.place.leases())
	if err != nil {
		return err
	}
	e := failed(errcode.IPExhausted, "allocate address", c.Subnet.String(), fmt.Errorf("all %d addresses for guests are in use", c.Capacity()))
	e.Hint = "use another bridge with a larger subnet"
	if len(names) < c.Capacity() {
		e.Err = fmt.Errorf("of %d addresses for guests %d are in use, and this process has given out the others before", c.Capacity(), len(names))
		e.Hint = "use another bridge with a larger subnet, or set ReuseAddresses"
	}
	return e
}

// cursor says how far the giving out of addresses has come.
type cursor struct {
	// Addr was given out last; it is the zero value before the first.
	Addr netip.Addr `json:"addr,omitzero"`
	// Again is set once the last address was reached: all may have been given before.
	Again bool `json:"again,omitempty"`
}

// readCursor reads what give has written. Whatever else is in the file only means that
// the first address that is free comes next.
func (p place) readCursor() (at cursor, err error) {
	data, err := readFile(p.cursor())
	if errors.Is(err, fs.ErrNotExist) {
		return at, nil
	}
	if err != nil {
		return at, failed(errcode.LedgerFailed, "read", p.cursor(), err)
	}
	if err := json.Unmarshal(data, &at); err != nil {
		return cursor{Again: true}, nil //nolint:nilerr // see above
	}
	return at, nil
}
