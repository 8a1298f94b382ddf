package hostnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/fault"
	"github.com/smartvm/smartvm/internal/netplan"
	"github.com/smartvm/smartvm/netconfig"
)

// lease is an address in use, a file named after it.
type lease struct {
	netplan.Guest

	// Ledger is the directory of the ledger that has the interface.
	Ledger string `json:"ledger"`

	// again is set while the lease is made, if another interface may have had the
	// address before.
	again bool
}

// check refuses what could never have been written here: rules are made of it.
func (l *lease) check(name string, c *netconfig.Config) error {
	switch {
	case l.Addr.String() != name:
		return fmt.Errorf("it says that it is of %v", l.Addr)
	case !c.Subnet.Contains(l.Addr) || l.Addr.Compare(c.FirstGuest()) < 0 || l.Addr.Compare(c.LastGuest()) > 0:
		return fmt.Errorf("no guest of %v can have the address", c.Subnet)
	case l.MAC[0]&1 != 0:
		return fmt.Errorf("%v is no interface's address", l.MAC)
	}
	errs := []error{netconfig.CheckInterfaceName(l.TAP), l.Egress.Validate(), netconfig.ValidateForwards(l.Forwards)}
	if l.Inside != nil {
		errs = append(errs, checkInside(l.Inside))
	}
	return errors.Join(errs...)
}

// readLeases returns the leases of a network in the order of their addresses. The
// caller holds the lock of the records.
func (p place) readLeases() ([]lease, error) {
	names, err := namesIn(p.leases())
	if err != nil || len(names) == 0 {
		return nil, err
	}
	there, err := p.read()
	if err != nil || there == nil {
		return nil, err
	}
	leases := make([]lease, 0, len(names))
	for _, name := range names {
		addr, err := netip.ParseAddr(name)
		if err != nil {
			return nil, damaged(p.leases(), fmt.Errorf("%q is no address", name))
		}
		l, err := p.readLease(addr, &there.Config)
		if err != nil {
			return nil, err
		}
		leases = append(leases, *l)
	}
	slices.SortFunc(leases, func(a, b lease) int { return a.Addr.Compare(b.Addr) })
	return leases, nil
}

func (p place) readLease(addr netip.Addr, c *netconfig.Config) (*lease, error) {
	l := new(lease)
	if err := readJSON(p.lease(addr), l); err != nil {
		return nil, failed(errcode.LedgerFailed, "read", p.lease(addr), err)
	}
	if err := l.check(addr.String(), c); err != nil {
		return nil, damaged(p.lease(addr), err)
	}
	return l, nil
}

// write makes the file of a lease, and its further names: they tell whether a MAC
// address or a TAP's name is taken without reading all leases.
func (p place) writeLease(l *lease) error {
	if err := writeJSON(p.lease(l.Addr), l); err != nil {
		return err
	}
	fault.Point("lease: written")
	for _, name := range []string{p.macEntry(l.MAC), p.tapEntry(l.TAP)} {
		err := os.Link(p.lease(l.Addr), name)
		if errors.Is(err, fs.ErrExist) { // left over of a lease that is gone: nobody has chosen it otherwise
			err = errors.Join(remove(name), os.Link(p.lease(l.Addr), name))
		}
		if err != nil {
			return failed(errcode.DirectoryFailed, "write", name, err)
		}
		fault.Point("lease: named")
	}
	return nil
}

// removeLease removes a lease, the address itself last.
func (p place) removeLease(l *lease) error {
	for _, path := range []string{p.macEntry(l.MAC), p.tapEntry(l.TAP), p.lease(l.Addr)} {
		if err := remove(path); err != nil {
			return err
		}
		fault.Point("lease: a name gone")
	}
	return nil
}

// named returns the lease behind one of its further names, nil when there is none.
func (p place) named(entry string, c *netconfig.Config) (*lease, error) {
	var l lease
	err := readJSON(entry, &l)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nobody has the name, which is no error
	}
	if err != nil {
		return nil, failed(errcode.LedgerFailed, "read", entry, err)
	}
	if err := l.check(l.Addr.String(), c); err != nil {
		return nil, damaged(entry, err)
	}
	return &l, nil
}

// used reports whether anybody uses the network. The caller holds the lock of the records.
func (p place) used() (bool, error) {
	for _, dir := range []string{p.leases(), p.users()} {
		if empty, err := isEmpty(dir); err != nil || !empty {
			return true, err
		}
	}
	return false, nil
}
